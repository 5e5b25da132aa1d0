package app

import (
	"os"
	"runtime"
	"runtime/debug"
	gcmetrics "runtime/metrics"
	"testing"
)

func TestGrowthPercent(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{
		{0, mostGrowth},
		{4 << 20, mostGrowth},
		{20 << 20, 100},
		{40 << 20, 50},
		{50 << 20, leastGrowth},
		{100 << 20, leastGrowth},
		{150 << 20, 60},
		{200 << 20, largeGrowth},
		{1 << 40, largeGrowth},
	} {
		if got := growthPercent(c.live); got != c.want {
			t.Errorf("with %d bytes in use: %d%%, want %d%%", c.live, got, c.want)
		}
	}
}

// The percentage follows the heap, collection after collection, and GOGC wins over it.
func TestTheCollectorFollowsTheHeap(t *testing.T) {
	before := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	percent := func() int { // read, not set: between the two the tuner may set it, and would not do so again
		sample := []gcmetrics.Sample{{Name: "/gc/gogc:percent"}}
		gcmetrics.Read(sample)
		return int(sample[0].Value.Uint64())
	}

	t.Setenv("GOGC", "77")
	tuneMemory()
	if p := percent(); p != 100 {
		t.Errorf("with GOGC set it was changed to %d", p)
	}

	if err := os.Unsetenv("GOGC"); err != nil { // t.Setenv restores it
		t.Fatal(err)
	}
	tuneMemory()
	ballast := make([]byte, 220<<20)
	for percent() != largeGrowth {
		runtime.GC()
	}
	runtime.KeepAlive(ballast)
	ballast = nil
	for percent() == largeGrowth {
		runtime.GC()
	}
}
