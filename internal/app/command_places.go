package app

import (
	"fmt"
	"sync"

	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
)

// How many commands may be under way on a stream.
const (
	maxCommands  = 16
	maxSlow      = 12 // tests and replays among them
	maxSlowOfApp = 6  // those of one app
)

// places bounds the commands that are under way. A test waits for an endpoint, for a minute and more when that hangs, and
// a replay goes through the whole history: they have a part of the places alone, and those of one app a part of that.
// So whatever the endpoints of an app do, lists are answered and other apps can test theirs.
type places struct {
	mu     sync.Mutex
	taken  int
	slow   int
	slowOf map[string]int
}

// tooManyError says which places are taken.
type tooManyError struct{ what string }

func (e *tooManyError) Error() string { return e.what + " are under way already; ask again later" }

// take takes a place for a command, which leave gives back.
func (p *places) take(c *fleetv1.Command) (leave func(), err error) {
	app, slow := slowApp(c)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.taken >= maxCommands:
		return nil, &tooManyError{fmt.Sprintf("%d commands", maxCommands)}
	case slow && p.slow >= maxSlow:
		return nil, &tooManyError{fmt.Sprintf("%d tests and replays", maxSlow)}
	case slow && p.slowOf[app] >= maxSlowOfApp:
		return nil, &tooManyError{fmt.Sprintf("%d tests and replays of the app", maxSlowOfApp)}
	}
	p.taken++
	if slow {
		if p.slowOf == nil {
			p.slowOf = make(map[string]int)
		}
		p.slow++
		p.slowOf[app]++
	}
	return func() { p.leave(app, slow) }, nil
}

func (p *places) leave(app string, slow bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if !slow {
		return
	}
	p.slow--
	if p.slowOf[app]--; p.slowOf[app] == 0 {
		delete(p.slowOf, app)
	}
}

// slowApp tells whether a command can take long, and the app that it is about.
func slowApp(c *fleetv1.Command) (app string, slow bool) {
	switch ask := c.GetAsk().(type) {
	case *fleetv1.Command_SendTestEvent:
		return ask.SendTestEvent.GetApp(), true
	case *fleetv1.Command_ReplayDeliveries:
		return ask.ReplayDeliveries.GetApp(), true
	}
	return "", false
}
