package send

import (
	"slices"
	"sync"
	"time"
)

// pool holds the idle connections to one scheme, host and port.
type pool struct {
	client *Client
	key    string

	mu sync.Mutex
	// idle connections, oldest first; the youngest is used next, so that a burst's surplus ages out.
	idle []*conn
	// users counts the requests between enter and leave. A pool with users or idle connections is not retired by the
	// reaper, so their connections find their way back.
	users   int
	retired bool

	// Of https endpoints:
	proto     protocol
	onlyHTTP1 bool    // HTTP/2 is not offered any more
	streams   []*conn // connections that speak HTTP/2, oldest first, used or idle
	// streamLimit is how many requests at once the latest connection to be answered took; 0 when none was.
	streamLimit int
	turn        *turn   // somebody makes a connection that others wait for
	dead        []*conn // to be closed by whoever unlocks mu
}

// unlock gives mu free and closes what was found to be dead meanwhile. Closing takes system calls, and for HTTP/2
// net/http's locks, so it is not done under mu.
func (p *pool) unlock() {
	dead := p.dead
	p.dead = nil
	p.mu.Unlock()
	for _, cn := range dead {
		cn.close()
	}
}

// enter finds, or makes, the endpoint's pool and counts the caller as a user of it.
func (c *Client) enter(e *Endpoint) (*pool, error) {
	if p := e.pool.Load(); p != nil && p.client == c && p.join() {
		return p, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClosed
	}
	p := c.pools[e.key]
	if p == nil || !p.join() {
		p = &pool{client: c, key: e.key, users: 1}
		c.pools[e.key] = p
	}
	e.pool.Store(p)
	return p, nil
}

// join counts a user in, unless the pool is retired.
func (p *pool) join() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.retired {
		return false
	}
	p.users++
	return true
}

// staleCheckAfter is how long a connection must have been idle for the check that it is still quiet. The check costs
// a system call, which a busy connection saves: should it be stale, the request itself finds out.
const staleCheckAfter = 5 * time.Millisecond

// take returns the youngest idle connection that is still good, nil for none.
func (p *pool) take() *conn {
	c := p.client
	var now time.Time
	for {
		cn := p.pop()
		if cn == nil {
			return nil
		}
		if now.IsZero() {
			now = c.opts.Now()
		}
		if now.Before(cn.idleUntil) && !cn.outdated() && (now.Sub(cn.idleSince) < staleCheckAfter || cn.quiet()) {
			return cn
		}
		cn.close()
	}
}

func (p *pool) pop() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	cn := p.idle[n-1]
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	p.client.idle.Add(-1)
	return cn
}

// leave ends what enter began. It keeps the connection, unless that is nil or there is no room for it.
func (p *pool) leave(cn *conn) {
	c := p.client
	if cn != nil && (!cn.end() || cn.outdated()) {
		cn.close()
		cn = nil
	}
	full := cn != nil && c.idle.Load() >= int64(c.opts.MaxIdle)
	if full {
		c.makeRoom()
	}
	p.mu.Lock()
	p.users--
	keep := cn != nil && !full && !p.retired && len(p.idle) < c.opts.MaxIdlePerHost
	if keep {
		p.idle = append(p.idle, cn)
		c.idle.Add(1)
	}
	p.mu.Unlock()
	if cn != nil && !keep {
		cn.close()
	}
}

// retire closes the idle connections and makes the pool unusable.
func (p *pool) retire() {
	p.mu.Lock()
	p.dead = append(p.dead, p.idle...)
	p.client.idle.Add(-int64(len(p.idle)))
	p.idle = nil
	p.retired = true
	for len(p.streams) > 0 {
		p.dropStreams(p.streams[0])
	}
	p.unlock()
}

// sweep removes the idle connections that bad picks and returns them, and retires the pool when it is unused.
func (p *pool) sweep(bad func(*conn) bool) (removed []*conn, retired bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = slices.DeleteFunc(p.idle, func(cn *conn) bool {
		if !bad(cn) {
			return false
		}
		removed = append(removed, cn)
		return true
	})
	p.client.idle.Add(-int64(len(removed)))
	for _, cn := range slices.Clone(p.streams) {
		if cn.h2.using == 0 && bad(cn) {
			p.dropStreams(cn)
		}
	}
	removed = append(removed, p.dead...)
	p.dead = nil
	p.retired = p.retired || p.users == 0 && len(p.idle) == 0 && len(p.streams) == 0
	return removed, p.retired
}

// makeRoom asks the reaper to close the oldest idle connections.
func (c *Client) makeRoom() {
	select {
	case c.nudge <- struct{}{}:
	default: // it has been asked already
	}
}

// reap owns the closing of idle connections, until the Client is closed.
func (c *Client) reap() {
	period := min(max(c.opts.IdleTimeout/4, 10*time.Millisecond), 15*time.Second)
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-tick.C:
			now := c.opts.Now()
			c.sweep(func(cn *conn) bool { return !now.Before(cn.idleUntil) || cn.outdated() || !cn.quiet() })
		case <-c.nudge:
			c.evict()
		}
	}
}

// evict closes the quarter of the idle connections that has been idle for longest, so that connections in use do not
// lose their place to forgotten ones.
func (c *Client) evict() {
	var ages []time.Time
	c.each(func(p *pool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, cn := range p.idle {
			ages = append(ages, cn.idleSince)
		}
		for _, cn := range p.streams {
			if cn.h2.using == 0 {
				ages = append(ages, cn.idleSince)
			}
		}
	})
	if len(ages) == 0 {
		return
	}
	slices.SortFunc(ages, time.Time.Compare)
	bound := ages[len(ages)/4]
	n := c.sweep(func(cn *conn) bool { return !cn.idleSince.After(bound) })
	c.opts.Logger.Debug("closed the oldest idle connections to make room", "closed", n, "max_idle", c.opts.MaxIdle)
}

// sweep closes the idle connections that bad picks, forgets pools that are not used any more, and returns how many
// connections it closed.
func (c *Client) sweep(bad func(*conn) bool) (closed int) {
	c.each(func(p *pool) {
		removed, retired := p.sweep(bad)
		for _, cn := range removed {
			cn.close()
		}
		closed += len(removed)
		if !retired {
			return
		}
		c.mu.Lock()
		if c.pools[p.key] == p {
			delete(c.pools, p.key)
		}
		c.mu.Unlock()
	})
	return closed
}

// each calls f for every pool there is now, without holding a lock.
func (c *Client) each(f func(*pool)) {
	c.mu.RLock()
	pools := make([]*pool, 0, len(c.pools))
	for _, p := range c.pools {
		pools = append(pools, p)
	}
	c.mu.RUnlock()
	for _, p := range pools {
		f(p)
	}
}
