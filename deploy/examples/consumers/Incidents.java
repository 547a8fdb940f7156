// Says what happens to incidents, by their CloudEvents headers:
// java -cp "kafka-clients.jar:slf4j-api.jar" Incidents.java localhost:9092
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.StringDeserializer;

class Incidents {
    public static void main(String[] args) {
        var text = new StringDeserializer();
        var consumer = new KafkaConsumer<>(Map.of("bootstrap.servers", args[0],
            "group.id", "me-too", "auto.offset.reset", "earliest"), text, text);
        consumer.subscribe(List.of("tocsin.incident-events.v1"));
        while (true) consumer.poll(Duration.ofSeconds(1)).forEach(event -> System.out.println(
            new String(event.headers().lastHeader("ce_type").value()) + " " + event.value()));
    }
}
