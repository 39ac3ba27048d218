package savepoint

import (
	"fmt"
)

// Doc is a state without a type of its own: a document of nil, bool, int64,
// float64, string, []byte, time.Time, []any, map[string]any and map[int64]any.
// Other numbers and maps are brought to these when it is stored.
type Doc map[string]any

// DocPhase is the field of a Doc that names its phase.
const DocPhase = "phase"

// Transition is the event of a document machine that goes from one phase to
// another: To becomes the Doc's phase, Update is merged into it.
type Transition struct {
	Action  string
	From    string // must be the phase before; empty = any
	To      string // empty = the phase stays
	Payload any
	Update  map[string]any
}

// Check refuses a transition that begins in another phase.
func (t Transition) Check(d *Doc, _ Meta) error {
	if have := d.phase(); t.From != "" && t.From != have {
		return fmt.Errorf("transition %q is from phase %q, the machine is in %q", t.Action, t.From, have)
	}
	return nil
}

// Apply sets the phase and merges the update.
func (t Transition) Apply(d *Doc, _ Meta) error {
	if *d == nil {
		*d = Doc{}
	}
	merge(*d, t.Update)
	if t.To != "" {
		(*d)[DocPhase] = t.To
	}
	return nil
}

// DocUpdate is the event of a document machine that changes fields: Set is
// merged into it, level by level, and the fields in Remove are taken out.
type DocUpdate struct {
	Set    map[string]any
	Remove []string
	Reason string
}

// Apply merges and removes.
func (u DocUpdate) Apply(d *Doc, _ Meta) error {
	if *d == nil {
		*d = Doc{}
	}
	merge(*d, u.Set)
	for _, name := range u.Remove {
		delete(*d, name)
	}
	return nil
}

// merge puts from into to; maps with string keys are merged, the rest replaced.
func merge(to, from map[string]any) {
	for name, v := range from {
		old, isMap := to[name].(map[string]any)
		sub, both := v.(map[string]any)
		if isMap && both {
			merge(old, sub)
			continue
		}
		to[name] = v
	}
}

func (d *Doc) phase() string {
	p, _ := (*d)[DocPhase].(string)
	return p
}

// DocKind is a ready kind for machines whose state is a [Doc], with the events
// "transition" ([Transition]) and "update" ([DocUpdate]). Change what it
// returns, for example its strategy or its events, before it is registered.
func DocKind(name string) Kind[Doc] {
	return Kind[Doc]{
		Name:   name,
		Events: Events[Doc]{"transition": Transition{}, "update": DocUpdate{}},
		New:    func() Doc { return Doc{} },
		Phase:  (*Doc).phase,
	}
}
