package xds

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// MorePrefix starts the system_version_info of a delta response that is followed by more of the same: the server cut
// what it had to say into pieces, and the set is whole only with the first response that lacks the prefix. The xDS
// protocol leaves that field to debugging, so other clients and servers are not disturbed.
const MorePrefix = "more:"

// digest identifies a name with its wire form, as two halves of 64 bits. Digests are added modulo 2^64 per half, so
// that the digest of a set is kept up to date at the cost of what changed, in any order.
type digest struct{ hi, lo uint64 }

func digestOf(name string, wire []byte) digest {
	h := sha256.New()
	h.Write([]byte(name))
	h.Write([]byte{0}) // no name contains it
	h.Write(wire)
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	return digest{binary.BigEndian.Uint64(sum[0:]), binary.BigEndian.Uint64(sum[8:])}
}

func (d digest) plus(o digest) digest  { return digest{d.hi + o.hi, d.lo + o.lo} }
func (d digest) minus(o digest) digest { return digest{d.hi - o.hi, d.lo - o.lo} }

func (d digest) String() string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], d.hi^d.lo)
	return hex.EncodeToString(b[:])
}

// withWire fills in the wire form. A value that does not marshal (only text that is not UTF-8 does not) stays without,
// and Wire says why.
func withWire(r *Resource) *Resource {
	if b, err := marshal(r); err == nil {
		r.wire, r.sum = b, digestOf(r.Name, b)
	}
	return r
}

func marshal(r *Resource) ([]byte, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(r.Proto())
	if err != nil {
		return nil, fmt.Errorf("%.200q cannot be serialized: %w", r.Name, err)
	}
	if b == nil {
		b = []byte{}
	}
	return b, nil
}

// Wire returns the serialized resource, which must not be changed. It fails only for a value that never was
// validated.
func (r *Resource) Wire() ([]byte, error) {
	if r.wire != nil {
		return r.wire, nil
	}
	return marshal(r)
}

// Any returns the resource as it goes over the wire.
func (r *Resource) Any() (*anypb.Any, error) {
	b, err := r.Wire()
	if err != nil {
		return nil, err
	}
	return &anypb.Any{TypeUrl: r.TypeURL, Value: b}, nil
}

// Version identifies the contents of the resource: 16 hexadecimal digits, the same for the same name and wire form.
// It is empty for a value that does not marshal.
func (r *Resource) Version() string {
	d, err := r.digest()
	if err != nil {
		return ""
	}
	return d.String()
}

func (r *Resource) digest() (digest, error) {
	if r.wire != nil {
		return r.sum, nil
	}
	b, err := marshal(r)
	if err != nil {
		return digest{}, err
	}
	return digestOf(r.Name, b), nil
}

// VersionOf is the Version of a resource of that name and wire form, whether it is valid or not.
func VersionOf(name string, wire []byte) string { return digestOf(name, wire).String() }
