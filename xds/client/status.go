package client

import (
	"cmp"
	"slices"
	"time"
)

// ClientStatus is what the client thinks of a resource, in the words of xDS (CSDS, envoy.admin.v3).
type ClientStatus string

// The statuses of a resource.
const (
	Requested ClientStatus = "REQUESTED" // asked for, nothing arrived yet
	Acked     ClientStatus = "ACKED"     // live
	Nacked    ClientStatus = "NACKED"    // its latest version was refused; an older one may be live
)

// ResourceStatus describes one resource. It never holds contents.
type ResourceStatus struct {
	// Name; "*" for a type of which nothing arrived yet.
	Name    string
	TypeURL string
	// Version that is live; empty for none.
	Version string
	Status  ClientStatus
	// Error and RejectedVersion tell why the latest version was refused.
	Error           string
	RejectedVersion string
	// LastUpdated is when the live version was applied, or the refusal if that was later.
	LastUpdated time.Time
}

// Status describes the client. It is as cheap with many resources as with few; Resources and Refused describe those.
type Status struct {
	// Connected: a stream is open and the control plane answers on it.
	Connected bool
	// Ready: there is a Snapshot, stale or not.
	Ready bool
	// Stale: the Snapshot comes from disk and the control plane has not told everything since the start.
	Stale bool
	// Version of the Snapshot.
	Version   string
	AppliedAt time.Time
	// Waiting lists the types of which nothing whole arrived on this stream.
	Waiting []string
	// LastError is why there is no connection; empty when there is one.
	LastError string
	// ConnectAttempts counts streams that were tried; Attempts responses that arrived; Successes those applied in
	// whole; Rejections those refused in whole or in part.
	ConnectAttempts, Attempts, Successes, Rejections uint64
	// LKGSavedAt is when the last-known-good file was written; LKGError why it was not, the last time.
	LKGSavedAt time.Time
	LKGError   string
}

// stats are the parts of Status that are counted.
type stats struct {
	connected                                        bool
	lastError                                        string
	appliedAt                                        time.Time
	connectAttempts, attempts, successes, rejections uint64
	lkgSavedAt                                       time.Time
	lkgError                                         string
}

// Status describes the client as it is now.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Status{
		Connected: c.stats.connected, Waiting: c.state.waiting(), LastError: c.stats.lastError,
		AppliedAt: c.stats.appliedAt, ConnectAttempts: c.stats.connectAttempts, Attempts: c.stats.attempts,
		Successes: c.stats.successes, Rejections: c.stats.rejections,
		LKGSavedAt: c.stats.lkgSavedAt, LKGError: c.stats.lkgError,
	}
	if live := c.state.live; live != nil {
		s.Ready, s.Stale, s.Version = true, live.Stale, live.Version
	}
	return s
}

// Resources describes every resource, by type and name. With many it takes a while: it is for people.
func (c *Client) Resources() []ResourceStatus {
	return c.resources(func(*entry) bool { return true })
}

// Refused describes the resources of which the latest version was refused, by type and name.
func (c *Client) Refused() []ResourceStatus {
	return c.resources(func(e *entry) bool { return e != nil && e.refused != nil })
}

// resources describes those that are wanted; nil stands for a type of which nothing arrived yet.
func (c *Client) resources(want func(*entry) bool) []ResourceStatus {
	var list []ResourceStatus
	c.mu.Lock()
	for typeURL, ts := range c.state.types {
		if len(ts.entries) == 0 && !ts.complete && want(nil) {
			list = append(list, ResourceStatus{Name: "*", TypeURL: typeURL, Status: Requested})
		}
		for name, e := range ts.entries {
			if want(e) {
				list = append(list, e.status(name, typeURL))
			}
		}
	}
	c.mu.Unlock()
	slices.SortFunc(list, func(a, b ResourceStatus) int {
		return cmp.Or(cmp.Compare(a.TypeURL, b.TypeURL), cmp.Compare(a.Name, b.Name))
	})
	return list
}

func (e *entry) status(name, typeURL string) ResourceStatus {
	r := ResourceStatus{Name: name, TypeURL: typeURL, Version: e.version, Status: Acked, LastUpdated: e.updated}
	if e.refused != nil {
		r.Status, r.Error, r.RejectedVersion = Nacked, e.refused.reason, e.refused.version
		r.LastUpdated = e.refused.at
	}
	return r
}
