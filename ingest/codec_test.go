package ingest

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
	"github.com/sidehook/sidehook/internal/wire"
)

// inFrames is b as a transport that gives so many bytes at a time would have it.
func inFrames(b []byte, size int) mem.BufferSlice {
	var s mem.BufferSlice
	for ; len(b) > size; b = b[size:] {
		s = append(s, mem.SliceBuffer(b[:size]))
	}
	return append(s, mem.SliceBuffer(b))
}

// TestCodecSharesNothingBetweenMessages: buffers are used again at once, so what one message left in them must not show
// in another, nor change a batch that was decoded before.
func TestCodecSharesNothingBetweenMessages(t *testing.T) {
	c := wire.NewCodec()
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			var before *batch
			for round := range 100 {
				name := fmt.Sprintf("%d-%d", worker, round)
				data := bytes.Repeat([]byte(name), 1+round%50*40)
				b, err := proto.Marshal(&eventsv1.PublishStreamRequest{
					Sequence: uint64(round), Events: []*eventsv1.Event{{Id: name, Data: data}},
				})
				if err != nil {
					t.Error(err)
					return
				}
				frames := inFrames(b, 1+len(b)/(1+round%4))
				in := newBatch(streamLayout)
				if err := c.Unmarshal(frames, in); err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				clear(b)
				if len(in.events) != 1 || in.events[0].ID != name || !bytes.Equal(in.events[0].Data, data) {
					t.Errorf("%s came out as %d events", name, len(in.events))
				}
				if before != nil && !bytes.HasPrefix(before.events[0].Data, []byte(before.events[0].ID)) {
					t.Errorf("%s was changed by what came after it", before.events[0].ID)
				}
				before = in
			}
		})
	}
	all.Wait()
}

// TestCodecRefusesBrokenFrames: an error comes of a message that is cut short, in one frame or several.
func TestCodecRefusesBrokenFrames(t *testing.T) {
	b, err := proto.Marshal(&eventsv1.PublishStreamRequest{Events: []*eventsv1.Event{fullEvent()}})
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{7, len(b)} {
		if err := wire.NewCodec().Unmarshal(inFrames(b[:len(b)-1], size), newBatch(streamLayout)); err == nil {
			t.Errorf("frames of %d bytes: no error", size)
		}
	}
}
