package ingest

import (
	"sync"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// codec decodes batches itself and leaves every other message to the stock codec. The stock one copies each message
// into a buffer of the next of its few sizes, 1 MiB for the usual batch of 70 KB, and clears all of it first.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(proto.Name)} }

// Unmarshal decodes data into v. Nothing of data is kept, for it is the transport's.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*batch)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	b.Reset()
	if len(data) == 1 {
		return b.unmarshal(data[0].ReadOnlyData())
	}
	whole := wholes.Get().(*[]byte)
	defer keepWhole(whole)
	*whole = (*whole)[:0]
	for _, part := range data {
		*whole = append(*whole, part.ReadOnlyData()...)
	}
	return b.unmarshal(*whole)
}

// wholes are buffers for messages that arrived in several frames.
var wholes = sync.Pool{New: func() any { return new([]byte) }}

// maxKeptWhole bounds the buffers that are used again, so that one large message does not hold its room for long.
const maxKeptWhole = 1 << 20

func keepWhole(b *[]byte) {
	if cap(*b) <= maxKeptWhole {
		wholes.Put(b)
	}
}
