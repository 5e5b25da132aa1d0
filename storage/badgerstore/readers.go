package badgerstore

import (
	"math"
	"slices"
	"sync"
)

// readers knows which moments are being read, so that Badger keeps the versions of entries, and the log the segments,
// that these moments show.
type readers struct {
	mu     sync.Mutex
	active []uint64
}

// enter begins to read at the moment that current gives.
func (r *readers) enter(current func() uint64) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	ts := current()
	r.active = append(r.active, ts)
	return ts
}

func (r *readers) leave(ts uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.Index(r.active, ts)
	last := len(r.active) - 1
	r.active[i] = r.active[last]
	r.active = r.active[:last]
}

// oldest is the oldest moment that is read, or current.
func (r *readers) oldest(current uint64) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ts := range r.active {
		current = min(current, ts)
	}
	return current
}

// view reads one moment: everything up to the last commit that is durable.
func (s *Store) view(read func(m *moment) error) error {
	m := &moment{s: s}
	m.ts = s.readers.enter(m.now)
	defer s.readers.leave(m.ts)
	defer m.close()
	return read(m)
}

// latest reads single entries as they are now.
func (s *Store) latest(read func(m *moment) error) error {
	m := &moment{s: s}
	entered := s.readers.enter(m.now)
	defer s.readers.leave(entered)
	defer m.close()
	m.ts = math.MaxUint64
	return read(m)
}

// value gives the value of a key; errNoKey when there is none. It must not be changed.
func value(m *moment, key []byte) ([]byte, error) { return m.get(key) }

// scan walks the entries whose keys start with prefix, from the key from on, until visit returns false. The key and
// value are only valid within visit.
func scan(m *moment, prefix, from []byte, visit func(key, val []byte) (bool, error)) error {
	it := m.iterate(prefix)
	defer it.close()
	for it.seek(from); it.valid(); it.next() {
		val, err := it.value()
		if err != nil {
			return err
		}
		if more, err := visit(it.key(), val); err != nil || !more {
			return err
		}
	}
	return it.err
}
