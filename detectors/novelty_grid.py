"""Which values of a series were seen lately: 256 cells over its range."""

from math import floor, frexp, ldexp

from detectors.base import State

CELLS = 256
EPOCH_SAMPLES = 512
"""A series' own samples between two steps of ageing."""
KEPT_EPOCHS = 12
"""A cell not visited for this many epochs (about 6,000 samples) is forgotten."""

FARTHEST = 255
"""The content of a cell 243 cells or more from the nearest one seen."""

_AGED = bytes(c + 1 if c + 1 < KEPT_EPOCHS else FARTHEST for c in range(256))
_SEEN = bytes(c < KEPT_EPOCHS for c in range(256))
_OLDER = bytes(c + 1 if c < KEPT_EPOCHS else c for c in range(256))
"""What becomes of each content of a cell: its age alone, whether it was visited, an epoch later."""

_START_CELLS = CELLS // 4
_START_MARGIN = 3 * CELLS // 8
_LEAST_CELLS = CELLS // 4
_ENDS = ("young_low", "young_high", "old_low", "old_high")


class ValueGrid:
    """The cells of a range that values have been in, and the exact ends of what was seen.

    A cell below `KEPT_EPOCHS` was visited; it holds its age in epochs. Any other holds
    `KEPT_EPOCHS` plus the distance to the nearest visited cell, so a look-up is one read. The
    grid doubles until it covers a value. The range is that of the latest one to two generations
    of `KEPT_EPOCHS`; when it fills less than a quarter of the grid, the grid halves: nothing need
    be known of a series beforehand, and a spike that is long past does not blunt it for ever.

    The width of a cell is a power of two and cells are counted from zero, `first` being the
    grid's first (an even number), so neither look-up nor doubling ever rounds. Values are 0 or of
    a magnitude of 1e-150 to 1e153.
    """

    __slots__ = ("cells", "first", "high", "low", "samples", "width", *_ENDS)

    def __init__(self) -> None:
        self.cells = bytearray([FARTHEST]) * CELLS
        self.first = 0
        self.width = 0.0
        self.low = float("inf")
        self.high = float("-inf")
        self.young_low = self.old_low = float("inf")
        self.young_high = self.old_high = float("-inf")
        self.samples = 0

    def novelty(self, value: float) -> float:
        """Distance to the nearest remembered value, in parts of the remembered range.

        0 for what was seen, 1 for any other value than the only one seen. Beyond the range it may
        be more than 1. The distance to a cell is to its near edge, less half a cell.
        """
        low, high = self.low, self.high
        if low < high:
            if value > high:
                return (value - high) / (high - low)
            if value < low:
                return (low - value) / (high - low)
            cell = self.cells[floor(value / self.width) - self.first]
            if cell <= KEPT_EPOCHS:
                return 0.0
            return (cell - KEPT_EPOCHS - 0.5) * self.width / (high - low)
        return 1.0 if low == high and value != low else 0.0

    @property
    def remembered(self) -> int:
        """How many samples are remembered at most."""
        return min(self.samples, EPOCH_SAMPLES * KEPT_EPOCHS)

    def learn(self, value: float) -> None:
        """Marks the value's cell as visited now."""
        if self.low <= value <= self.high:
            if self.width and self.cells[at := floor(value / self.width) - self.first]:
                self._visit(at)
        else:
            self._learn_beyond(value)
        if not self.young_low <= value <= self.young_high:
            self.young_low = min(self.young_low, value)
            self.young_high = max(self.young_high, value)
        self.samples += 1
        if self.samples % EPOCH_SAMPLES == 0:
            self._age()

    def _learn_beyond(self, value: float) -> None:
        """Takes in a value out of the range, which the grid may have to grow for."""
        if not self.width and self.samples:
            self._open(value)
        if self.width:
            while (down := value < self._edge(0)) or value >= self._edge(CELLS):
                self._widen(down=down)
            self._visit(self._cell(value))
        self.low = min(self.low, value)
        self.high = max(self.high, value)

    def seen_beside(self, value: float) -> tuple[float, float]:
        """The remembered values next to `value`, below and above it; where there is none, the
        end of the range."""
        if not self.width or not self.low <= value <= self.high:
            return self.low, self.high
        below = above = self._cell(value)
        while below > 0 and self.cells[below] >= KEPT_EPOCHS:
            below -= 1
        while above < CELLS - 1 and self.cells[above] >= KEPT_EPOCHS:
            above += 1
        return (
            max(self.low, self._edge(below + 1)),
            min(self.high, self._edge(above)),
        )

    def _cell(self, value: float) -> int:
        return floor(value / self.width) - self.first

    def _edge(self, cell: int) -> float:
        """Where a cell begins."""
        return (self.first + cell) * self.width

    def _open(self, value: float) -> None:
        """Lays the grid around the first two values that differ: 64 to 128 cells between them."""
        _, exponent = frexp(abs(value - self.low) / _START_CELLS)
        self.width = ldexp(1.0, exponent - 1)
        first = floor(min(value, self.low) / self.width) - _START_MARGIN
        self.first = first - first % 2
        self._visit(self._cell(self.low))

    def _visit(self, at: int) -> None:
        cells = self.cells
        known = cells[at]
        cells[at] = 0
        if known < KEPT_EPOCHS:
            return
        for step in (-1, 1):
            far, i = KEPT_EPOCHS + 1, at + step
            while 0 <= i < CELLS and cells[i] > far:
                cells[i] = far
                far += 1
                i += step

    def _widen(self, *, down: bool) -> None:
        """Doubles the cells' width; the grid grows downwards or upwards."""
        odd = self.first // 2 % 2
        shift = CELLS // 2 - odd if down else odd
        ages = bytearray([FARTHEST]) * CELLS
        for i, cell in enumerate(self.cells):
            if cell < KEPT_EPOCHS:
                to = i // 2 + shift
                ages[to] = min(ages[to], cell)
        self.first = self.first // 2 - shift
        self.width *= 2.0
        self.cells = with_distances(ages)

    def _age(self) -> None:
        if self.samples % (EPOCH_SAMPLES * KEPT_EPOCHS) == 0:
            self.old_low, self.old_high = self.young_low, self.young_high
            self.young_low, self.young_high = float("inf"), float("-inf")
        forgets = KEPT_EPOCHS - 1 in self.cells
        ages = self.cells.translate(_AGED)
        seen = ages.translate(_SEEN)
        if (first := seen.find(1)) < 0:
            return
        self._draw_in(first, seen.rfind(1))
        while 0.0 < self.high - self.low < self.width * _LEAST_CELLS:
            ages = self._narrowed(ages)
            forgets = True
        # Where no cell is forgotten the distances to the nearest one stay.
        self.cells = with_distances(ages) if forgets else self.cells.translate(_OLDER)

    def _draw_in(self, first: int, last: int) -> None:
        """Sets the range's ends to those of the cells visited, or of the last two generations."""
        self.low = max(self.low, self._edge(first), min(self.young_low, self.old_low))
        self.high = min(self.high, self._edge(last + 1), max(self.young_high, self.old_high))

    def _narrowed(self, ages: bytearray) -> bytearray:
        """Halves the cells' width about the range; both halves of a cell within it are seen."""
        begin = min(max(self._cell(self.low) - CELLS // 8, 0), CELLS // 2)
        self.first = 2 * (self.first + begin)
        self.width /= 2.0
        lowest, highest = self._cell(self.low), self._cell(self.high)
        return bytearray(
            ages[begin + i // 2] if lowest <= i <= highest else FARTHEST for i in range(CELLS)
        )

    def dump(self) -> State:
        """The cells and the range."""
        return [
            bytes(self.cells),
            self.first,
            self.width,
            self.low,
            self.high,
            self.young_low,
            self.young_high,
            self.old_low,
            self.old_high,
            self.samples,
        ]

    def load(self, state: State) -> None:
        """Takes a state from `dump`."""
        cells, self.first, self.width, self.low, self.high = state[:5]
        self.young_low, self.young_high, self.old_low, self.old_high, self.samples = state[5:]
        self.cells = bytearray(cells)


def with_distances(ages: bytearray) -> bytearray:
    """Cells whose unvisited ones hold the distance to the nearest visited one."""
    cells = bytearray(ages)
    far = FARTHEST
    for i, age in enumerate(ages):
        far = KEPT_EPOCHS if age < KEPT_EPOCHS else min(far + 1, FARTHEST)
        if age >= KEPT_EPOCHS:
            cells[i] = far
    far = FARTHEST
    for i in range(CELLS - 1, -1, -1):
        far = KEPT_EPOCHS if ages[i] < KEPT_EPOCHS else min(far + 1, FARTHEST)
        if ages[i] >= KEPT_EPOCHS:
            cells[i] = min(cells[i], far)
    return cells
