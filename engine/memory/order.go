package memory

import (
	"iter"
	"slices"
	"sort"
	"strings"
)

// order holds machines sorted by key, in runs that are short, so that an insert
// moves few of them. No run is empty.
type order struct{ runs [][]*machine }

// longestRun is the largest length of a run; a longer one is cut in two.
const longestRun = 512

// find returns the place of the first key that is not less than key, or the place
// at which it would be.
func (o *order) find(key string) (run, at int) {
	run = sort.Search(len(o.runs), func(i int) bool {
		r := o.runs[i]
		return r[len(r)-1].key >= key
	})
	if run == len(o.runs) {
		return run, 0
	}
	at = sort.Search(len(o.runs[run]), func(i int) bool { return o.runs[run][i].key >= key })
	return run, at
}

// insert adds a machine whose key is not in o yet.
func (o *order) insert(m *machine) {
	run, at := o.find(m.key)
	if run == len(o.runs) { // after all others: at the end of the last run
		if run == 0 {
			o.runs = [][]*machine{{m}}
			return
		}
		run--
		at = len(o.runs[run])
	}
	o.runs[run] = slices.Insert(o.runs[run], at, m)
	if r := o.runs[run]; len(r) > longestRun {
		half := len(r) / 2
		o.runs = slices.Insert(o.runs, run+1, slices.Clone(r[half:]))
		clear(r[half:])
		o.runs[run] = r[:half]
	}
}

// remove removes the machine with the key, which must be in o.
func (o *order) remove(key string) {
	run, at := o.find(key)
	o.runs[run] = slices.Delete(o.runs[run], at, at+1)
	if len(o.runs[run]) == 0 {
		o.runs = slices.Delete(o.runs, run, run+1)
	}
}

// scan returns the machines whose key starts with prefix and is greater than after,
// in the order of keys.
func (o *order) scan(prefix, after string) iter.Seq[*machine] {
	return func(yield func(*machine) bool) {
		run, at := o.find(max(prefix, after))
		for ; run < len(o.runs); run, at = run+1, 0 {
			for _, m := range o.runs[run][at:] {
				if !strings.HasPrefix(m.key, prefix) {
					return
				}
				if m.key > after && !yield(m) {
					return
				}
			}
		}
	}
}
