// Package document has a ready kind for machines whose state has no Go type of its own: the state is a
// [savepoint.Doc], and two events change it.
package document

import (
	"fmt"

	"github.com/liap-tui/savepoint"
)

// Phase is the field of a Doc that names the machine's phase.
const Phase = "phase"

// Kind returns a kind for machines whose state is a [savepoint.Doc], with the
// events "transition" ([Transition]) and "update" ([Update]). Its fields may be
// changed, for example the strategy or the events, before it is registered.
func Kind(name string) savepoint.Kind[savepoint.Doc] {
	return savepoint.Kind[savepoint.Doc]{
		Name:   name,
		Events: savepoint.Events[savepoint.Doc]{"transition": Transition{}, "update": Update{}},
		New:    func() savepoint.Doc { return savepoint.Doc{} },
		Phase:  phase,
	}
}

// Transition is the event that goes from one phase to another: To becomes the
// phase of the Doc, Update is merged into it as in [Update].
type Transition struct {
	Action  string
	From    string // the phase before has to be this one; empty = any
	To      string // empty = the phase stays
	Payload any
	Update  map[string]any
}

// Check refuses a transition that starts from another phase.
func (t Transition) Check(d *savepoint.Doc, _ savepoint.Meta) error {
	if have := phase(d); t.From != "" && t.From != have {
		return fmt.Errorf("transition %q is from phase %q, the machine is in %q", t.Action, t.From, have)
	}
	return nil
}

// Apply sets the phase and merges the update.
func (t Transition) Apply(d *savepoint.Doc, _ savepoint.Meta) error {
	if *d == nil {
		*d = savepoint.Doc{}
	}
	merge(*d, t.Update)
	if t.To != "" {
		(*d)[Phase] = t.To
	}
	return nil
}

// Update is the event that changes fields: Set is merged into the Doc level by
// level, then the fields in Remove are removed.
type Update struct {
	Set    map[string]any
	Remove []string
	Reason string
}

// Apply merges and removes.
func (u Update) Apply(d *savepoint.Doc, _ savepoint.Meta) error {
	if *d == nil {
		*d = savepoint.Doc{}
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

func phase(d *savepoint.Doc) string {
	p, _ := (*d)[Phase].(string)
	return p
}
