package badgerstore

import (
	"bytes"

	"github.com/dgraph-io/badger/v4/skl"
	"github.com/dgraph-io/badger/v4/y"
)

// Sizes of an overlay, in bytes.
const (
	overlayArena = 3 << 20
	// overlayFull is what an overlay holds when it is written to Badger; the rest is room for one commit.
	overlayFull = 2 << 20
	// overlayLog is the size of the log behind an overlay at which it is written, so that replay stays short.
	overlayLog = 24 << 20
)

// overlay holds the entries of the commits that are in the log and not in Badger yet, with their versions. One
// goroutine writes, any number read.
type overlay struct {
	list  *skl.Skiplist
	arena int64
	base  uint64 // the last commit that was in Badger when it began
	from  segPos // its first record

	// What a checkpoint with it says, set when it is frozen.
	marks marks
	end   segPos
	rows  []segmentRow
	// whole: Badger may have entries of later commits than base, from a checkpoint that a crash cut short. So it is with
	// all overlays that replay begins.
	whole bool
}

func newOverlay(base uint64, from segPos, need int64) *overlay {
	size := max(overlayArena, need+need/8+1<<16)
	return &overlay{list: skl.NewSkiplist(size), arena: size, base: base, from: from}
}

const tombstone = 1

// need is at least what ops take in an overlay.
func overlayNeed(ops []op) (n int64) {
	for i := range ops {
		n += int64(skl.MaxNodeSize+16+8+16) + int64(len(ops[i].key)+len(ops[i].val))
	}
	return n
}

func (o *overlay) fits(need int64) bool { return o.list.MemSize()+need < o.arena-4096 }

func (o *overlay) empty() bool { return o.list.Empty() }

func (o *overlay) apply(seq uint64, ops []op) {
	for i := range ops {
		v := y.ValueStruct{Value: ops[i].val}
		if ops[i].del {
			v = y.ValueStruct{Meta: tombstone}
		}
		o.list.Put(y.KeyWithTs(ops[i].key, seq), v)
	}
}

// get finds a key as of ts.
func (o *overlay) get(key []byte, ts uint64) (val []byte, deleted, found bool) {
	v := o.list.Get(y.KeyWithTs(key, ts))
	if v.Version == 0 {
		return nil, false, false
	}
	return v.Value, v.Meta == tombstone, true
}

// each visits the newest version of every key.
func (o *overlay) each(visit func(key, val []byte, deleted bool) error) error {
	it := o.list.NewIterator()
	var last []byte
	for it.SeekToFirst(); it.Valid(); it.Next() {
		key := y.ParseKey(it.Key())
		if last != nil && bytes.Equal(key, last) {
			continue
		}
		last = key
		v := it.Value()
		if err := visit(key, v.Value, v.Meta == tombstone); err != nil {
			return err
		}
	}
	return nil
}

// neverStored reports whether Badger cannot have a key: it belongs to a batch or commit that came after base.
func (o *overlay) neverStored(key []byte) bool { return !o.whole && after(key, o.base) }

// after reports whether a key belongs to a commit after seq: entries of a commit's things are never written before it.
func after(key []byte, seq uint64) bool {
	switch key[0] {
	case spaceMeta:
		return false
	case spaceQueue:
		if len(key) < 3+queueTail {
			return false
		}
		p, _ := parseQueueTail(key[len(key)-queueTail:])
		return p.seq > seq
	}
	n, err := seqOf(key)
	return err == nil && n > seq
}

// overlayCursor goes forward through the keys of an overlay as of ts.
type overlayCursor struct {
	it *skl.Iterator
	ts uint64
}

func (c *overlayCursor) seek(key []byte) {
	c.it.Seek(y.KeyWithTs(key, c.ts))
	c.settle()
}

// settle moves on to a version that ts shows.
func (c *overlayCursor) settle() {
	for c.it.Valid() {
		k := c.it.Key()
		if y.ParseTs(k) <= c.ts {
			return
		}
		c.it.Seek(y.KeyWithTs(y.ParseKey(k), c.ts))
	}
}

func (c *overlayCursor) next() {
	last := y.ParseKey(c.it.Key())
	for c.it.Next(); c.it.Valid() && bytes.Equal(y.ParseKey(c.it.Key()), last); c.it.Next() {
	}
	c.settle()
}

func (c *overlayCursor) key() []byte {
	if !c.it.Valid() {
		return nil
	}
	return y.ParseKey(c.it.Key())
}

func (c *overlayCursor) value() (val []byte, deleted bool, err error) {
	v := c.it.Value()
	return v.Value, v.Meta == tombstone, nil
}
