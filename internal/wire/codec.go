// Package wire lets messages be written and read by hand that pass between two processes for each event, or each delivery
// with a transformer: the generated types would cost the larger part of all that is done there. What stands in a message is
// not its business; packages ingest, plugin and plugin/host know that.
package wire

import (
	"sync"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// Encoder is a message that writes itself.
type Encoder interface {
	// WireSize is how many bytes AppendWire appends.
	WireSize() int
	AppendWire(b []byte) []byte
}

// Decoder is a message that reads itself. It keeps nothing of b.
type Decoder interface{ DecodeWire(b []byte) error }

// Codec has an Encoder and a Decoder do their own work, and leaves every other message to the stock codec. The stock one
// has few sizes of buffers, so that a batch of 70 KB goes through two of 1 MiB, cleared each time.
type Codec struct{ encoding.CodecV2 }

// NewCodec makes a Codec.
func NewCodec() Codec { return Codec{encoding.GetCodecV2(proto.Name)} }

// Marshal encodes v.
func (c Codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(Encoder)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	b := buffers.Get(m.WireSize())
	*b = m.AppendWire((*b)[:0])
	return mem.BufferSlice{mem.NewBuffer(b, buffers)}, nil
}

// Unmarshal decodes data into v.
func (c Codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(Decoder)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	if len(data) == 1 {
		return m.DecodeWire(data[0].ReadOnlyData())
	}
	whole := buffers.Get(data.Len())
	defer buffers.Put(whole)
	data.CopyTo(*whole)
	return m.DecodeWire(*whole)
}

// buffers are used again whatever their size was, up to maxKept.
var buffers = &pool{}

// maxKept bounds the buffers that are used again, so that one large message does not hold its room for long.
const maxKept = 1 << 20

// pool implements mem.BufferPool.
type pool struct{ free sync.Pool }

// Get returns a buffer of that length; what is in it is anything.
func (p *pool) Get(length int) *[]byte {
	b, _ := p.free.Get().(*[]byte)
	if b == nil || cap(*b) < length {
		made := make([]byte, length)
		return &made
	}
	*b = (*b)[:length]
	return b
}

// Put takes a buffer back.
func (p *pool) Put(b *[]byte) {
	if cap(*b) <= maxKept {
		p.free.Put(b)
	}
}
