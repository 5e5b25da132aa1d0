package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes, written in a file as "256KiB", "10GiB", "64MB" or "512B".
type Size int64

// The binary units.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
	TiB Size = 1 << 40
)

var sizeUnits = []struct {
	suffix string
	bytes  Size
}{
	{"KiB", KiB},
	{"MiB", MiB},
	{"GiB", GiB},
	{"TiB", TiB},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"TB", 1e12},
	{"B", 1}, // last: it ends all the others too
}

var errSize = errors.New(`must be a size such as "256KiB", "64MB" or "10GiB"`)

// ParseSize reads a whole number with one of the units B, KB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB
// (powers of 1024). Case matters, and a number without a unit is refused so that nobody has to guess.
func ParseSize(s string) (Size, error) {
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		digits = strings.TrimSuffix(digits, " ")
		n, err := strconv.ParseUint(digits, 10, 63)
		if err != nil {
			return 0, errSize
		}
		if n > uint64(math.MaxInt64/u.bytes) {
			return 0, errors.New("is too large")
		}
		return Size(n) * u.bytes, nil
	}
	return 0, errSize
}

// String gives the shortest exact text that ParseSize reads.
func (s Size) String() string {
	best, unit := int64(s), "B"
	for _, u := range sizeUnits {
		if s != 0 && s%u.bytes == 0 && int64(s/u.bytes) < best {
			best, unit = int64(s/u.bytes), u.suffix
		}
	}
	return strconv.FormatInt(best, 10) + unit
}
