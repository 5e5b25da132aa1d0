package badgerstore

import (
	"errors"
	"time"

	"github.com/sidehook/sidehook"
)

const (
	keepEvery = time.Second
	// tidyEvery is how often an idle store is asked to tidy, in rounds of the keeper.
	tidyEvery = 30
	// idleRounds is after how many rounds in which nothing was submitted the store gives back what it does not need.
	idleRounds = 5
)

// When flattening is worth it: Badger keeps deleted entries until a compaction happens to meet them, which in an idle
// store may be never. A large backlog is left alone, for flattening rewrites everything.
const (
	flattenGarbage = 4 << 20
	flattenMost    = 64 << 20
)

// keep watches the disk and gives space back, until the store closes.
func (s *Store) keep() {
	defer s.keeper.Done()
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	k := keeper{s: s}
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
			k.round()
		}
	}
}

type keeper struct {
	s         *Store
	rounds    int
	submitted uint64
	idle      int // rounds in which nothing was submitted
}

func (k *keeper) round() {
	s := k.s
	s.watchDisk()
	k.rounds++
	if k.rounds%tidyEvery == 0 {
		s.in.wantTidy()
	}
	if n := s.in.submitted(); n != k.submitted {
		k.submitted, k.idle = n, 0
		s.idle.Store(false)
		return
	}
	if k.idle++; k.idle == 1 {
		s.checkpointNow()
	}
	if k.idle >= idleRounds {
		s.rest()
	}
}

// checkpointNow asks the committer to begin a checkpoint.
func (s *Store) checkpointNow() {
	if !s.tiers.Load().active.empty() {
		s.wantCheckpoint.Store(true)
		s.in.wantTidy()
	}
}

// rest gives back the space that an idle store does not need.
func (s *Store) rest() {
	s.idle.Store(true)
	s.checkpointNow()
	s.giveSegmentsBack()
	s.segs.dropSpares()
	s.flatten()
}

// watchDisk refuses events while the disk has too little room. What is queued still drains.
func (s *Store) watchDisk() {
	err := s.opts.checkDisk(s.dir)
	var full *sidehook.FullError
	switch was := s.full.Load(); {
	case err == nil:
		if was != nil {
			s.log.Info("the disk has room again")
		}
		s.full.Store(nil)
	case errors.As(err, &full):
		if was == nil {
			s.log.Warn("events are refused until there is room", "reason", full.What)
		}
		s.full.Store(&err)
	default:
		s.log.Error("the disk cannot be watched", "error", err)
	}
}

// flatten has Badger rewrite its tables without what was deleted, when that is much of them.
func (s *Store) flatten() {
	garbage := s.garbage.Load()
	size := int64(0)
	for _, table := range s.db.Tables() {
		size += int64(table.OnDiskSize)
	}
	if garbage < flattenGarbage || size > flattenMost || garbage < size/2 {
		return
	}
	s.garbage.Add(-garbage)
	if err := s.db.Flatten(1); err != nil {
		s.log.Warn("deleted space could not be given back", "error", err)
	}
}
