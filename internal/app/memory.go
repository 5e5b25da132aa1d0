package app

import (
	"os"
	"runtime"
	"runtime/debug"
	gcmetrics "runtime/metrics"
)

// When the garbage collector of a process that holds a queue runs, unless GOGC says otherwise: when the heap has grown by
// leastGrowth percent, or by growth bytes if that is more, but not by more than mostGrowth percent; and a large one, by
// largeGrowth percent.
//
// A small heap is collected often at a fixed percentage, and what a collection costs does not shrink with it: under full
// load (bench rows "one" and "fanout100", 2026-11-22) the sidecar takes 15 and 8% less CPU time at 100 than at 40, for
// 20 MB more. One of middling size, of a backlog, would double for nothing that shows. Of a large one, of very many
// webhooks, no cache has anything, and to look through it costs several times as much per byte: with 100,000 (row
// "growth") the rate is 0.90 of that with 10 at 80, and 0.79 at 40.
const (
	leastGrowth = 40
	mostGrowth  = 150
	growth      = 20 << 20

	largeGrowth = 80
	middling    = 100 << 20
	large       = 200 << 20
)

// tuneMemory sets the collector for the whole process, so only what runs a process calls it.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		t := &collectorTuner{sample: []gcmetrics.Sample{{Name: "/gc/heap/live:bytes"}}}
		t.tune()
	}
}

// collectorTuner sets the percentage anew after every collection. It has no goroutine: the collector itself calls it,
// when it finds that what it left behind the last time is not referred to.
type collectorTuner struct {
	sample  []gcmetrics.Sample
	percent int
}

// cycle is what is left behind. It is large enough to be freed by itself.
type cycle struct{ _ [64]byte }

func (t *collectorTuner) tune() {
	gcmetrics.Read(t.sample)
	// Setting it stops the world for a moment, so not for a small difference.
	if p := growthPercent(t.sample[0].Value.Uint64()); p < t.percent*9/10 || p > t.percent*11/10 {
		t.percent = p
		debug.SetGCPercent(p)
	}
	runtime.AddCleanup(new(cycle), (*collectorTuner).tune, t)
}

// growthPercent is by how much a heap of which so many bytes are in use may grow.
func growthPercent(live uint64) int {
	least := uint64(leastGrowth)
	if live > middling {
		least += (largeGrowth - leastGrowth) * (min(live, large) - middling) / (large - middling)
	}
	return int(min(max(least, growth*100/max(live, 1)), mostGrowth))
}
