package send

import (
	"slices"
	"time"
)

// protocol is what an endpoint chose in the latest TLS handshake.
type protocol uint8

const (
	protoUnknown protocol = iota
	protoHTTP1
	protoHTTP2
)

// turn is the right to make a connection while others wait for what comes of it: 64 requests for an endpoint that
// speaks HTTP/2 need one connection and not 64.
type turn struct {
	done   chan struct{}
	failed bool // set before done is closed
}

// find finds a way to the endpoint: a kept-alive connection, for HTTP/2 with a stream reserved; or none, and then the
// caller makes a new one and ends its turn, if it got one. Connections up to the number after are not good enough; 0
// for all are.
func (c *Client) find(x *exchange, p *pool, after uint64) (*conn, *turn, error) {
	alone := false
	for {
		if after == 0 {
			if cn := p.take(); cn != nil {
				return cn, nil, nil
			}
		}
		if c.transport == nil || !x.req.URL.tls {
			return nil, nil, nil
		}
		cn, mine, others := p.takeStream(after, alone)
		if others == nil {
			return cn, mine, nil
		}
		x.phase = phaseTurn
		if err := x.wait(others.done); err != nil {
			return nil, nil, err
		}
		alone = others.failed
	}
}

// wait waits for done, for as long as the request may take.
func (x *exchange) wait(done <-chan struct{}) error {
	timer := time.NewTimer(time.Until(x.deadline))
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-x.ctx.Done():
		return ended(x.ctx, x.start, x.phase)
	case <-timer.C:
		if x.ctx.Err() != nil {
			return ended(x.ctx, x.start, x.phase)
		}
		return timeoutError(x.deadline.Sub(x.start), x.phase, errTurn)
	}
}

// takeStream reserves a stream on a connection. Without one it says whose turn it is to make a connection: nobody's
// (the endpoint speaks HTTP/1.1, or the caller goes alone because the last turn failed), the caller's, or another's.
func (p *pool) takeStream(after uint64, alone bool) (cn *conn, mine, others *turn) {
	p.mu.Lock()
	defer p.unlock()
	for _, cn := range slices.Clone(p.streams) {
		if p.onlyHTTP1 || cn.outdated() || cn.h2.cc.Err() != nil {
			p.dropStreams(cn)
			continue
		}
		if known := cn.h2.answered || p.streamLimit == 0; !known && cn.h2.using >= p.streamLimit {
			continue
		}
		if cn.seq > after && cn.h2.cc.Reserve() == nil {
			if cn.h2.using++; cn.h2.using == 1 {
				p.client.idle.Add(-1)
			}
			return cn, nil, nil
		}
	}
	switch {
	case alone || p.proto == protoHTTP1 || p.onlyHTTP1:
		return nil, nil, nil
	case p.turn != nil:
		return nil, nil, p.turn
	}
	p.turn = &turn{done: make(chan struct{})}
	return nil, p.turn, nil
}

// endTurn lets go on who waits; t may be nil.
func (p *pool) endTurn(t *turn, err error) {
	if t == nil {
		return
	}
	p.mu.Lock()
	p.turn = nil
	p.mu.Unlock()
	t.failed = err != nil
	close(t.done)
}

// learn notes what the endpoint chose, and puts a connection that speaks HTTP/2 where others find it.
func (p *pool) learn(cn *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if cn.h2 == nil {
		p.proto = protoHTTP1
		return
	}
	p.proto = protoHTTP2
	if p.retired || len(p.streams) >= p.client.opts.MaxIdlePerHost {
		cn.h2.leaving = true
		return
	}
	p.streams = append(p.streams, cn)
}

// endStream gives a stream back. Suspect: the connection shall get no more requests.
func (p *pool) endStream(cn *conn, suspect bool) {
	c := p.client
	p.mu.Lock()
	h := cn.h2
	if h.cc.Err() == nil {
		h.answered = true
		p.streamLimit = max(1, h.cc.Available()+h.cc.InFlight())
	}
	h.using--
	switch {
	case h.using > 0:
	case h.leaving:
		p.dead = append(p.dead, cn)
	default:
		cn.idleSince = c.opts.Now()
		cn.idleUntil = cn.idleSince.Add(c.opts.IdleTimeout)
		c.idle.Add(1)
	}
	if !h.leaving && (suspect || cn.outdated() || h.cc.Err() != nil) {
		p.dropStreams(cn)
	}
	p.unlock()
}

// dropStreams takes a connection out of the list; who uses it last closes it, and the caller if nobody does, with
// unlock. mu is held.
func (p *pool) dropStreams(cn *conn) {
	p.streams = slices.DeleteFunc(p.streams, func(o *conn) bool { return o == cn })
	cn.h2.leaving = true
	if cn.h2.using == 0 {
		p.client.idle.Add(-1)
		p.dead = append(p.dead, cn)
	}
}

// forceHTTP1 notes that the endpoint takes no requests over HTTP/2 although it chose it (RFC 9113, section 7,
// HTTP_1_1_REQUIRED).
func (p *pool) forceHTTP1() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onlyHTTP1 = true
}

// speaksHTTP2 reports whether HTTP/2 is to be offered.
func (p *pool) speaksHTTP2() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.client.transport != nil && !p.onlyHTTP1
}
