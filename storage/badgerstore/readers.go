package badgerstore

import (
	"math"
	"slices"
	"sync"

	"github.com/dgraph-io/badger/v4"
)

// readers knows which moments are being read, so that Badger keeps the versions of entries that these moments show.
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
func (s *Store) view(read func(txn *badger.Txn) error) error {
	ts := s.readers.enter(s.committed.Load)
	defer s.readers.leave(ts)
	txn := s.db.NewTransactionAt(ts, false)
	defer txn.Discard()
	return read(txn)
}

// latest reads single entries as they are now.
func (s *Store) latest(read func(txn *badger.Txn) error) error {
	txn := s.db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	return read(txn)
}

// value copies the value of a key; badger.ErrKeyNotFound when there is none.
func value(txn *badger.Txn, key []byte) ([]byte, error) {
	item, err := txn.Get(key)
	if err != nil {
		return nil, err
	}
	return item.ValueCopy(nil)
}

// scan walks the entries whose keys start with prefix, from the key from on, until visit returns false. The key and
// value are only valid within visit.
func scan(txn *badger.Txn, prefix, from []byte, visit func(key, val []byte) (bool, error)) error {
	opts := badger.DefaultIteratorOptions
	opts.PrefetchValues = false // values are in the tree already
	opts.Prefix = prefix
	it := txn.NewIterator(opts)
	defer it.Close()
	for it.Seek(from); it.ValidForPrefix(prefix); it.Next() {
		more := false
		err := it.Item().Value(func(val []byte) (err error) {
			more, err = visit(it.Item().Key(), val)
			return err
		})
		if err != nil || !more {
			return err
		}
	}
	return nil
}
