package sidehook

import (
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// DeliveryID identifies a delivery: the place of its event in the sidecar's log, and which of the event's deliveries
// it is. Ids of one sidecar grow with time.
type DeliveryID struct {
	// Origin is a random number of the log, so that ids of different sidecars differ.
	Origin uint32
	// Index counts the deliveries within Batch, from 0.
	Index uint32
	// Batch is the position of the commit that stored the event; grows by at least one with each commit.
	Batch uint64
}

const (
	deliveryPrefix = "dlv_"
	deliveryText   = 26 // characters behind the prefix
)

var deliveryEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// String gives the text form: dlv_ and 26 lower-case Crockford base32 characters.
func (id DeliveryID) String() string {
	var b [16]byte
	binary.BigEndian.PutUint32(b[0:], id.Origin)
	binary.BigEndian.PutUint64(b[4:], id.Batch)
	binary.BigEndian.PutUint32(b[12:], id.Index)
	var text [len(deliveryPrefix) + deliveryText]byte
	copy(text[:], deliveryPrefix)
	deliveryEncoding.Encode(text[len(deliveryPrefix):], b[:])
	return string(text[:])
}

// Before reports whether id stands before o in one sidecar's log.
func (id DeliveryID) Before(o DeliveryID) bool {
	return id.Batch < o.Batch || id.Batch == o.Batch && id.Index < o.Index
}

// ParseDeliveryID reads the text form.
func ParseDeliveryID(s string) (DeliveryID, error) {
	rest, ok := strings.CutPrefix(s, deliveryPrefix)
	b, err := deliveryEncoding.DecodeString(rest)
	if !ok || err != nil || len(b) != 16 {
		return DeliveryID{}, fmt.Errorf("%.40q is not a delivery id such as dlv_…", s)
	}
	return DeliveryID{
		Origin: binary.BigEndian.Uint32(b[0:]),
		Batch:  binary.BigEndian.Uint64(b[4:]),
		Index:  binary.BigEndian.Uint32(b[12:]),
	}, nil
}

// DeliveryState is where a delivery stands.
type DeliveryState uint8

// The states of a delivery. Pending is the only one that is not an end.
const (
	Pending   DeliveryState = iota // waiting for its first or next attempt, or being attempted
	Delivered                      // a receiver answered 2xx
	Dead                           // no more attempts: schedule used up, retry off, or the endpoint is gone
	Dropped                        // will not be attempted: a transformer dropped it, or its webhook was removed
)

func (s DeliveryState) String() string {
	switch s {
	case Pending:
		return "pending"
	case Delivered:
		return "delivered"
	case Dead:
		return "dead"
	case Dropped:
		return "dropped"
	}
	return "invalid"
}

// ParseDeliveryState reads the name of a state; ok is false when there is none of it.
func ParseDeliveryState(name string) (state DeliveryState, ok bool) {
	for s := Pending; s <= Dropped; s++ {
		if s.String() == name {
			return s, true
		}
	}
	return 0, false
}

// Final reports whether the state is an end.
func (s DeliveryState) Final() bool { return s != Pending }

// Attempt is one HTTP request of a delivery, and what came back.
type Attempt struct {
	// Number counts from 1.
	Number int
	// At is when it began.
	At time.Time
	// Latency is from the start to the end of the response or to the failure.
	Latency time.Duration
	// URL that was asked.
	URL string
	// RequestHeaders as sent, signatures shortened.
	RequestHeaders []Header
	// Status of the response; 0 when none came.
	Status int
	// Response is the beginning of the response body, at most MaxRecordedResponse bytes.
	Response []byte
	// Error says in plain words why it failed; empty when it did not.
	Error string
	// Outcome is what it meant.
	Outcome Outcome
}

// MaxRecordedResponse is how many bytes of a response body an Attempt keeps.
const MaxRecordedResponse = 1024

// OutcomeKind is what an attempt means for its delivery.
type OutcomeKind uint8

// The kinds of outcome.
const (
	OutcomeDelivered OutcomeKind = iota + 1 // 2xx
	OutcomeRetry                            // failed; try again at Outcome.RetryAt
	OutcomeDead                             // failed for good
	OutcomeGone                             // 410: failed for good, and the webhook is to be disabled
	OutcomeDropped                          // a transformer dropped it
)

func (k OutcomeKind) String() string {
	switch k {
	case OutcomeDelivered:
		return "delivered"
	case OutcomeRetry:
		return "retry"
	case OutcomeDead:
		return "dead"
	case OutcomeGone:
		return "gone"
	case OutcomeDropped:
		return "dropped"
	}
	return "invalid"
}

// State is the delivery's state after such an outcome.
func (k OutcomeKind) State() DeliveryState {
	switch k {
	case OutcomeDelivered:
		return Delivered
	case OutcomeDead, OutcomeGone:
		return Dead
	case OutcomeDropped:
		return Dropped
	}
	return Pending
}

// Outcome is what an attempt means: delivered, retry at T, dead, gone.
type Outcome struct {
	Kind OutcomeKind
	// RetryAt is set with OutcomeRetry.
	RetryAt time.Time
}
