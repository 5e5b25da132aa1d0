package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// trouble is something that is wrong with some endpoints.
type trouble struct {
	name   string
	hooks  []hook
	resolv string
	cannot error // why it cannot be made here
}

const (
	allTroubles = "all at once"
	// hangingHooks is how many endpoints hang.
	hangingHooks = 100
	// What waits for each endpoint that hangs, and for each of the others.
	hangingBacklog = 500
	singleBacklog  = 60_000
	// patience is how long an attempt at an endpoint in trouble may take.
	patience = time.Second
)

// isolationRow measures the rate of a healthy endpoint while others are in trouble, in turns with its rate alone. Those in
// trouble have a backlog of events of their own, which lasts for the whole run, so that their lanes do all the time what
// they are let do; what it costs to take in events for a hundred webhooks more is the business of the rows on fan-out.
//
// A closed loop uses all the CPU there is, so what a trouble costs the healthy endpoint loses, even where nobody waits for
// anybody. That share is told beside the ratio: how much of the CPU of sidecar, receiver and publisher together, and of the
// sidecar's alone, did not go into the healthy endpoint's deliveries, by what those cost without trouble. In it are requests
// that hang, each at most patience long, until the lane's limit and circuit hold them back; and the answers of the endless
// endpoint, which count as successes, at the price of a connection each, both its ends being on this machine, and up to
// 128 kB. The endpoints that are busy, have no name or no TLS should cost next to nothing. A ratio that is lower than what
// the share leaves means that the healthy lane waited for something.
func isolationRow(b *bench, pick func(all []trouble) trouble) (err error) {
	b.set.warmUp, b.set.duration = min(b.set.warmUp, time.Second), min(b.set.duration, 3*time.Second) // there are seven runs
	troubles, stop, err := b.troubles()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	t := pick(troubles)
	if t.cannot != nil {
		b.rep.put(result{Row: b.name, Metric: ratioAlone, Unit: "×", Note: "not measured: " + t.cannot.Error()})
		return nil
	}
	c, err := b.turns(
		func() (figures, error) { return b.beside(trouble{}, b.closed()) },
		func() (figures, error) { return b.beside(t, b.closed()) },
	)
	if err != nil {
		return err
	}
	b.addTurns(c)
	m := c.middle()
	whole := (m.before.cost() + m.after.cost()) / (2 * m.with.cost())
	b.add("share of the CPU", 100*(1-whole), "%")
	b.add("share of the sidecar's CPU", 100*(1-1/m.cpu()), "%")
	b.add(p99, float64(m.with.latency.P99)/1e6, "ms")
	b.add("attempts at endpoints in trouble", m.with.others, "")
	return nil
}

// one picks a trouble by its name.
func one(name string) func(all []trouble) trouble {
	return func(all []trouble) trouble {
		return all[slices.IndexFunc(all, func(t trouble) bool { return t.name == name })]
	}
}

// together is every trouble that can be made, at once.
func together(all []trouble) trouble {
	t := trouble{name: allTroubles}
	for _, one := range all {
		if one.cannot == nil {
			t.hooks = append(t.hooks, one.hooks...)
			t.resolv += one.resolv
		}
	}
	return t
}

// isolationOpenRow measures an open loop that leaves CPU to all, alone and beside all troubles: only what waits for others
// can be late.
func isolationOpenRow(b *bench) (err error) {
	const perSecond = 1000
	troubles, stop, err := b.troubles()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	alone, err := b.beside(trouble{}, open(perSecond))
	if err != nil {
		return err
	}
	beside, err := b.beside(together(troubles), open(perSecond))
	if err != nil {
		return err
	}
	b.add(ratioAlone, beside.rate/alone.rate, "×")
	b.add("p99, alone", float64(alone.latency.P99)/1e6, "ms")
	b.add(p99, float64(beside.latency.P99)/1e6, "ms")
	return nil
}

// beside measures a load on the healthy endpoint beside a trouble.
func (b *bench) beside(t trouble, l load) (f figures, err error) {
	spec := sidecarSpec{hooks: append(b.hooks(1), t.hooks...), resolv: t.resolv, hangs: len(t.hooks) > 0}
	spec.hooks[0].answer = http.StatusOK
	err = b.with(spec, 1, func(s *sidecar, p *publisher) (err error) {
		if err := b.keepBusy(s, t.hooks); err != nil {
			return err
		}
		if f, err = b.run(s, p, l); err != nil {
			return err
		}
		if err := b.awaitTrouble(s, spec.hooks); err != nil {
			return err
		}
		if pending, err := s.pending(); err != nil || pending == 0 && len(t.hooks) > 0 {
			return errors.Join(err, errors.New("nothing is pending at the end: those in trouble were not busy all the time"))
		}
		attempts, err := s.metric("sidehook_attempts_total")
		f.others = max(0, attempts-float64(p.next))
		return err
	})
	return f, errors.Join(err, b.recv.reset())
}

// keepBusy gives endpoints in trouble what they are busy with.
func (b *bench) keepBusy(s *sidecar, hooks []hook) error {
	for typ, events := range map[string]uint64{backlogType: hangingBacklog, singleType: singleBacklog} {
		n := 0
		for i := range hooks {
			if hooks[i].Event == typ {
				n++
			}
		}
		if n == 0 {
			continue
		}
		if err := b.publishBacklog(s, typ, n, events); err != nil {
			return err
		}
	}
	return nil
}

// awaitTrouble waits until every endpoint has failed in the way it should: otherwise the row would show nothing.
func (b *bench) awaitTrouble(s *sidecar, hooks []hook) error {
	const most = 10 * time.Second
	for began := time.Now(); ; {
		wrong, err := s.unlike(hooks)
		if err != nil || wrong == nil {
			return err
		}
		if time.Since(began) > most {
			return wrong
		}
		if err := pause(b.ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// unlike says of a webhook how its latest attempt is unlike what its endpoint answers, nil when each is as it should be.
func (s *sidecar) unlike(hooks []hook) (wrong, err error) {
	resp, err := http.Get("http://" + s.admin + "/webhooks")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var body struct {
		Data []struct {
			ID         string
			LastStatus int    `json:"last_status"`
			LastError  string `json:"last_error"`
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		return nil, err
	}
	if len(body.Data) != len(hooks) {
		return fmt.Errorf("the sidecar has %d webhooks, want %d", len(body.Data), len(hooks)), nil
	}
	for _, w := range body.Data {
		var i int
		if _, err := fmt.Sscanf(w.ID, "w%d", &i); err != nil || i >= len(hooks) {
			return nil, fmt.Errorf("the sidecar has a webhook %q", w.ID)
		}
		if w.LastStatus != hooks[i].answer || hooks[i].answer == 0 && w.LastError == "" {
			return fmt.Errorf("the latest attempt at %s has status %d, %q, want status %d",
				hooks[i].URL, w.LastStatus, w.LastError, hooks[i].answer), nil
		}
	}
	return nil, nil
}

// troubles are all that can go wrong. They last until stop is called.
func (b *bench) troubles() (all []trouble, stop func() error, err error) {
	_, port, err := net.SplitHostPort(b.recv.wide)
	if err != nil {
		return nil, nil, err
	}
	tls, err := startBrokenTLS()
	if err != nil {
		return nil, nil, err
	}
	to := func(url string, answer int) []hook {
		return []hook{{URL: url, Event: singleType, Timeout: patience, answer: answer}}
	}
	slow := trouble{name: "slow DNS", hooks: to("http://slow.example:"+port+"/", 0), resolv: silentResolv}
	dns, err := startSilentDNS()
	if slow.cannot = err; err == nil {
		slow.cannot = b.tryResolver()
	}
	hanging := trouble{name: "hanging"}
	for i := range hangingHooks {
		h := to("http://"+loopback(i)+":"+port+hangPath, 0)
		h[0].Event = backlogType
		hanging.hooks = append(hanging.hooks, h...)
	}
	all = []trouble{
		hanging,
		{name: "endless", hooks: to("http://"+loopback(hangingHooks)+":"+port+endlessPath, http.StatusOK)},
		{name: "busy", hooks: to("http://"+loopback(hangingHooks+1)+":"+port+busyPath, http.StatusTooManyRequests)},
		slow,
		{name: "broken TLS", hooks: to("https://"+tls.lis.Addr().String()+"/", 0)},
	}
	return all, func() error {
		err := tls.stop()
		if dns != nil {
			err = errors.Join(err, dns.stop())
		}
		return err
	}, nil
}

// brokenTLS answers connections with what is no TLS.
type brokenTLS struct {
	lis   net.Listener
	serve sync.WaitGroup
}

func startBrokenTLS() (*brokenTLS, error) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &brokenTLS{lis: lis}
	b.serve.Go(func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return // closed
			}
			_, _ = conn.Write([]byte("220 this is something else\r\n")) // who hung up before does not need it
			_ = conn.Close()
		}
	})
	return b, nil
}

func (b *brokenTLS) stop() error {
	err := b.lis.Close()
	b.serve.Wait()
	return err
}
