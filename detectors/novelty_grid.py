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
_VISITED = bytes(c if c < KEPT_EPOCHS else FARTHEST for c in range(256))
"""What becomes of each content of a cell: its age alone, an epoch older; whether it was visited;
the cell an epoch later; its age alone, as it is."""
_FARTHER = bytes(min(KEPT_EPOCHS + 1 + far, FARTHEST) for far in range(CELLS))
_NEARER = _FARTHER[::-1]
"""The cells to the right of a visited one, and to the left of one."""

START_CELLS = CELLS // 4
START_MARGIN = 3 * CELLS // 8
LEAST_CELLS = CELLS // 4
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
        _, exponent = frexp(abs(value - self.low) / START_CELLS)
        self.width = ldexp(1.0, exponent - 1)
        first = floor(min(value, self.low) / self.width) - START_MARGIN
        self.first = first - first % 2
        self._visit(self._cell(self.low))

    def _visit(self, at: int) -> None:
        """Marks a cell; of the cells beside one that is new, the nearer half is counted from it."""
        cells = self.cells
        if cells[at] >= KEPT_EPOCHS:
            seen = cells.translate(_SEEN)
            left, right = seen.rfind(1, 0, at), seen.find(1, at + 1)
            below = at if left < 0 else (at - left - 1) // 2
            above = CELLS - at - 1 if right < 0 else (right - at - 1) // 2
            cells[at - below : at] = _NEARER[CELLS - below :]
            cells[at + 1 : at + 1 + above] = _FARTHER[:above]
        cells[at] = 0

    def _widen(self, *, down: bool) -> None:
        """Doubles the cells' width; the grid grows downwards or upwards."""
        odd = self.first // 2 % 2
        shift = CELLS // 2 - odd if down else odd
        ages = bytearray([FARTHEST]) * CELLS
        pairs = bytes(map(min, self.cells[::2], self.cells[1::2]))
        ages[shift : shift + CELLS // 2] = pairs.translate(_VISITED)
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
        while 0.0 < self.high - self.low < self.width * LEAST_CELLS:
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
    seen = ages.translate(_SEEN)
    at = seen.find(1)
    if at < 0:
        return bytearray([FARTHEST]) * CELLS
    cells = bytearray(ages)
    cells[:at] = _NEARER[CELLS - at :]
    while (after := seen.find(1, at + 1)) >= 0:
        gap = after - at - 1
        rising = (gap + 1) // 2
        cells[at + 1 : after] = _FARTHER[:rising] + _NEARER[CELLS - (gap - rising) :]
        at = after
    cells[at + 1 :] = _FARTHER[: CELLS - at - 1]
    return cells
