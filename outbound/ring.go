package outbound

// ring is a double-ended queue that reuses its room. The zero ring is empty.
type ring struct {
	buf  []*job // length is a power of two, or 0
	head int
	n    int
}

func (r *ring) len() int { return r.n }

func (r *ring) pushBack(j *job) {
	r.grow()
	r.buf[(r.head+r.n)&(len(r.buf)-1)] = j
	r.n++
}

func (r *ring) pushFront(j *job) {
	r.grow()
	r.head = (r.head - 1) & (len(r.buf) - 1)
	r.buf[r.head] = j
	r.n++
}

// at is the job at place i from the front, of len.
func (r *ring) at(i int) *job { return r.buf[(r.head+i)&(len(r.buf)-1)] }

// popFront returns nil when the ring is empty.
func (r *ring) popFront() *job {
	if r.n == 0 {
		return nil
	}
	j := r.buf[r.head]
	r.buf[r.head] = nil
	r.head = (r.head + 1) & (len(r.buf) - 1)
	r.n--
	return j
}

// popBack returns nil when the ring is empty.
func (r *ring) popBack() *job {
	if r.n == 0 {
		return nil
	}
	r.n--
	i := (r.head + r.n) & (len(r.buf) - 1)
	j := r.buf[i]
	r.buf[i] = nil
	return j
}

// takeAll empties the ring and lets go of its room.
func (r *ring) takeAll() []*job {
	all := make([]*job, 0, r.n)
	for r.n > 0 {
		all = append(all, r.popFront())
	}
	*r = ring{}
	return all
}

func (r *ring) grow() {
	if r.n < len(r.buf) {
		return
	}
	buf := make([]*job, max(8, 2*len(r.buf)))
	for i := range r.n {
		buf[i] = r.buf[(r.head+i)&(len(r.buf)-1)]
	}
	r.buf, r.head = buf, 0
}
