package memory

// Reopened closes e and is an engine with what e held, as if it had come from
// a disk: the suite's tests of reopening run on it.
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
