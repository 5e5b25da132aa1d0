package outbound

import "sync"

// news tells everybody who waits that something changed. Who waits takes the channel first and looks then, so that no
// change is missed. The zero news is ready.
type news struct {
	mu sync.Mutex
	ch chan struct{} // nil: nobody waits
}

// next is closed at the next tell.
func (n *news) next() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch == nil {
		n.ch = make(chan struct{})
	}
	return n.ch
}

func (n *news) tell() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch != nil {
		close(n.ch)
		n.ch = nil
	}
}
