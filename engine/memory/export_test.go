package memory

// Reopened closes e and returns an engine with the contents of e, as if they had
// been read from a disk, for the suite's tests of reopening.
func (e *Engine) Reopened() *Engine {
	e.mu.Lock()
	r := NewLimited(e.limits)
	r.machines, r.order, r.notes, r.number, r.pos, r.index = e.machines, e.order, e.notes, e.number, e.pos, e.index
	e.machines, e.order, e.notes, e.index = nil, order{}, nil, nil
	r.versions, e.versions = e.versions, nil
	e.mu.Unlock()
	if err := e.Close(); err != nil {
		panic(err)
	}
	return r
}
