package wire

import (
	"bytes"
	"fmt"
	"testing"

	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// note is a message with a text and a map.
type note struct{ text, key, value string }

func (n *note) WireSize() int { return SizeText(1, n.text) + SizeEntry(2, n.key, n.value) }

func (n *note) AppendWire(b []byte) []byte {
	return AppendEntry(AppendText(b, 1, n.text), 2, n.key, n.value)
}

func (n *note) DecodeWire(b []byte) error {
	m := Read(b)
	for m.Next() {
		switch {
		case m.Kind != protowire.BytesType:
		case m.Number == 1:
			n.text = string(m.Bytes)
		case m.Number == 2:
			key, value, err := Entry(m.Bytes)
			if err != nil {
				return err
			}
			n.key, n.value = string(key), string(value)
		}
	}
	return m.Err()
}

// TestCodec: a message comes back whole however the transport cuts it up, and when its buffers were used before.
func TestCodec(t *testing.T) {
	c := NewCodec()
	for i := range 20 {
		in := &note{text: string(bytes.Repeat([]byte{'a' + byte(i)}, 100_000>>(i%7))), key: fmt.Sprint(i), value: ""}
		sent, err := c.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		if sent.Len() != in.WireSize() {
			t.Fatalf("%d bytes, not %d", sent.Len(), in.WireSize())
		}
		whole := sent.Materialize()
		cut := len(whole) / (i + 1)
		for _, data := range []mem.BufferSlice{
			sent, {mem.SliceBuffer(whole)}, {mem.SliceBuffer(whole[:cut]), mem.SliceBuffer(whole[cut:])},
		} {
			out := &note{}
			if err := c.Unmarshal(data, out); err != nil || *out != *in {
				t.Fatalf("message %d in %d parts: %.20q, %v", i, len(data), out.text, err)
			}
		}
		sent.Free()
	}
}

// TestCodecLeavesOthers: messages of other services go through the stock codec.
func TestCodecLeavesOthers(t *testing.T) {
	c := NewCodec()
	sent, err := c.Marshal(&grpc_health_v1.HealthCheckRequest{Service: "plugin"})
	if err != nil {
		t.Fatal(err)
	}
	out := &grpc_health_v1.HealthCheckRequest{}
	if err := c.Unmarshal(sent, out); err != nil || out.GetService() != "plugin" {
		t.Errorf("%v %v", out, err)
	}
}

func TestMalformed(t *testing.T) {
	for _, b := range []string{"\x0a", "\x0a\x05abc", "\x08\xff", "\x00\x00", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x0b", "\x12\x02\x0a\x05"} {
		if err := NewCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(b)}, &note{}); err == nil {
			t.Errorf("%q was accepted", b)
		}
	}
	if err := (&note{}).DecodeWire([]byte("\x1d1234\x211234567\x08\x0a\x01x")); err != nil {
		t.Errorf("fields of other kinds: %v", err)
	}
}
