package badgerstore

import (
	"container/list"
	"sync"

	"github.com/sidehook/sidehook"
)

// maxCachedBlocks bounds the decoded blocks kept for claims, in bytes.
const maxCachedBlocks = 4 << 20

// blockRef names a block: its batch and the last index in it.
type blockRef struct {
	seq  uint64
	last uint32
}

// blockCache keeps the decoded blocks used last.
type blockCache struct {
	mu    sync.Mutex
	items map[blockRef]*list.Element
	order list.List // of *cachedBlock, used last first
	bytes int
}

// cachedBlock is a decoded block with the events that were asked for, so that claims share them.
type cachedBlock struct {
	ref   blockRef
	block *block

	mu     sync.Mutex
	events []*sidehook.Event
}

// get gives a block, from memory or from the log.
func (c *blockCache) get(ss *segments, seq uint64, at blockAt) (*cachedBlock, error) {
	ref := blockRef{seq, at.last}
	if cb := c.lookup(ref); cb != nil {
		return cb, nil
	}
	val, err := ss.read(at.ref)
	if err != nil {
		return nil, err
	}
	b, err := decodeBlock(val)
	if err != nil {
		return nil, err
	}
	cb := &cachedBlock{ref: ref, block: b, events: make([]*sidehook.Event, len(b.entries))}
	c.add(cb)
	return cb, nil
}

func (c *blockCache) lookup(ref blockRef) *cachedBlock {
	c.mu.Lock()
	defer c.mu.Unlock()
	el := c.items[ref]
	if el == nil {
		return nil
	}
	c.order.MoveToFront(el)
	return el.Value.(*cachedBlock)
}

func (c *blockCache) add(cb *cachedBlock) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.items == nil {
		c.items = make(map[blockRef]*list.Element)
	}
	if c.items[cb.ref] != nil {
		return
	}
	c.items[cb.ref] = c.order.PushFront(cb)
	c.bytes += cb.memory()
	for c.bytes > maxCachedBlocks && c.order.Len() > 1 {
		el := c.order.Back()
		old := c.order.Remove(el).(*cachedBlock)
		delete(c.items, old.ref)
		c.bytes -= old.memory()
	}
}

// memory is about what the block takes once its events are decoded.
func (cb *cachedBlock) memory() int { return 2*cb.block.size + 300*len(cb.block.entries) + 256 }

// event of the delivery with an index.
func (cb *cachedBlock) event(index uint32) (*sidehook.Event, error) {
	i := cb.block.find(index)
	if i < 0 {
		return nil, sidehook.ErrNotFound
	}
	cb.mu.Lock()
	defer cb.mu.Unlock()
	if cb.events[i] == nil {
		ev, err := decodeEvent(cb.block.entries[i].record)
		if err != nil {
			return nil, err
		}
		cb.events[i] = ev
	}
	return cb.events[i], nil
}
