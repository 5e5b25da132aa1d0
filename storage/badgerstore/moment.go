package badgerstore

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/skl"
	"github.com/dgraph-io/badger/v4/y"
)

// errNoKey: there is no such entry.
var errNoKey = errors.New("no such entry")

// tiers is where entries are: the overlay that commits go to, the one that is being written to Badger, if any, and
// Badger. It is not changed, only replaced.
type tiers struct {
	active, frozen *overlay
	flushed        uint64 // the last commit whose entries are in Badger
}

// moment reads the tiers at one commit.
type moment struct {
	s   *Store
	t   *tiers
	ts  uint64
	txn *badger.Txn // opened when it is needed
}

// now chooses the moment of the last durable commit. What is committed after the tiers were looked up may be in an
// overlay that they do not have, so both must belong together.
func (m *moment) now() uint64 {
	for {
		m.t = m.s.tiers.Load()
		ts := m.s.committed.Load()
		if m.s.tiers.Load() == m.t {
			return ts
		}
	}
}

func (m *moment) badger() *badger.Txn {
	if m.txn == nil {
		m.txn = m.s.db.NewTransactionAt(m.ts, false)
	}
	return m.txn
}

func (m *moment) close() {
	if m.txn != nil {
		m.txn.Discard()
	}
}

// overlays are those with something in them, the newer first.
func (m *moment) overlays() [2]*overlay { return [2]*overlay{m.t.active, m.t.frozen} }

func (m *moment) get(key []byte) ([]byte, error) {
	for _, o := range m.overlays() {
		if o == nil {
			continue
		}
		if val, deleted, ok := o.get(key, m.ts); deleted {
			return nil, errNoKey
		} else if ok {
			return val, nil
		}
	}
	if after(key, m.t.flushed) {
		return nil, errNoKey
	}
	item, err := m.badger().Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, errNoKey
	}
	if err != nil {
		return nil, fmt.Errorf("read key %.40q: %w", key, err)
	}
	return item.ValueCopy(nil)
}

// source is one tier, as an iterator sees it.
type source interface {
	seek(key []byte)
	next()
	key() []byte // nil at the end
	value() (val []byte, deleted bool, err error)
}

// iterator goes forward through the entries of a prefix, whichever tier they are in.
type iterator struct {
	m       *moment
	prefix  []byte
	sources []source // newer tiers first
	disk    *diskCursor
	at      source
	err     error
}

func (m *moment) iterate(prefix []byte) *iterator {
	it := &iterator{m: m, prefix: prefix}
	for _, o := range m.overlays() {
		if o != nil && !o.empty() {
			it.sources = append(it.sources, &overlayCursor{it: o.list.NewIterator(), ts: m.ts})
		}
	}
	return it
}

func (it *iterator) close() {
	if it.disk != nil {
		it.disk.it.Close()
	}
}

func (it *iterator) seek(key []byte) {
	// Badger's iterators are dear, and most of what is looked for at the head of the log is not there yet.
	if it.disk == nil && !(key[0] != spaceQueue && after(key, it.m.t.flushed)) {
		opts := badger.DefaultIteratorOptions
		opts.PrefetchValues = false // values are in the tree already
		opts.Prefix = it.prefix
		it.disk = &diskCursor{it: it.m.badger().NewIterator(opts)}
		it.sources = append(it.sources, it.disk)
	}
	for _, s := range it.sources {
		s.seek(key)
	}
	it.settle()
}

func (it *iterator) next() {
	it.step(it.at.key())
	it.settle()
}

// step moves all tiers past a key.
func (it *iterator) step(key []byte) {
	for _, s := range it.sources {
		if s != it.at && bytes.Equal(s.key(), key) {
			s.next()
		}
	}
	it.at.next()
}

// settle finds the first entry that is not deleted.
func (it *iterator) settle() {
	for {
		it.at = nil
		var least []byte
		for _, s := range it.sources {
			if k := s.key(); k != nil && bytes.HasPrefix(k, it.prefix) && (least == nil || bytes.Compare(k, least) < 0) {
				it.at, least = s, k
			}
		}
		if it.at == nil {
			return
		}
		_, deleted, err := it.at.value()
		if err != nil {
			it.err, it.at = err, nil
			return
		}
		if !deleted {
			return
		}
		it.step(least)
	}
}

func (it *iterator) valid() bool { return it.at != nil }

func (it *iterator) key() []byte { return it.at.key() }

func (it *iterator) value() ([]byte, error) {
	val, _, err := it.at.value()
	return val, err
}

// diskCursor is Badger's tier.
type diskCursor struct{ it *badger.Iterator }

func (c *diskCursor) seek(key []byte) { c.it.Seek(key) }

func (c *diskCursor) next() { c.it.Next() }

func (c *diskCursor) key() []byte {
	if !c.it.Valid() {
		return nil
	}
	return c.it.Item().Key()
}

func (c *diskCursor) value() (val []byte, deleted bool, err error) {
	err = c.it.Item().Value(func(v []byte) error {
		val = v // in a mapped table or memtable, which the iterator holds
		return nil
	})
	return val, false, err
}

// scanBack walks the entries whose keys start with prefix backwards, from the key from on.
func scanBack(m *moment, prefix, from []byte, visit func(key, val []byte) (bool, error)) error {
	opts := badger.DefaultIteratorOptions
	opts.PrefetchValues = false
	opts.Reverse = true
	disk := m.badger().NewIterator(opts)
	defer disk.Close()
	disk.Seek(from)
	back := newBackCursors(m, from)
	for {
		key := back.last()
		onDisk := disk.ValidForPrefix(prefix)
		if onDisk && (key == nil || bytes.Compare(disk.Item().Key(), key) >= 0) {
			key = disk.Item().Key()
		} else {
			onDisk = false
		}
		if key == nil || !bytes.HasPrefix(key, prefix) {
			return nil
		}
		key = bytes.Clone(key)
		val, err := m.get(key)
		if err == nil {
			var more bool
			if more, err = visit(key, val); err == nil && !more {
				return nil
			}
		}
		if err != nil && !errors.Is(err, errNoKey) {
			return err
		}
		back.before(key)
		if onDisk {
			disk.Next()
		}
	}
}

// backCursors go backwards through the keys of the overlays.
type backCursors []*skl.Iterator

func newBackCursors(m *moment, from []byte) backCursors {
	var list backCursors
	for _, o := range m.overlays() {
		if o != nil && !o.empty() {
			it := o.list.NewIterator()
			it.SeekForPrev(y.KeyWithTs(from, 0)) // behind every version of from
			list = append(list, it)
		}
	}
	return list
}

// last is the greatest key, nil at the end.
func (l backCursors) last() (key []byte) {
	for _, it := range l {
		if it.Valid() {
			if k := y.ParseKey(it.Key()); key == nil || bytes.Compare(k, key) > 0 {
				key = k
			}
		}
	}
	return key
}

// before moves to the keys before one.
func (l backCursors) before(key []byte) {
	for _, it := range l {
		if it.Valid() && bytes.Compare(y.ParseKey(it.Key()), key) >= 0 {
			it.SeekForPrev(y.KeyWithTs(key, 1<<64-1))
		}
	}
}
