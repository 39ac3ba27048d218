package memory

import (
	"iter"
	"slices"
	"sort"
	"strings"
)

// order keeps machines sorted by key, in runs short enough that an insert
// moves little. No run is empty.
type order struct{ runs [][]*machine }

// longestRun is where a run is cut in two.
const longestRun = 512

// find is where the first key not below key stands, or would stand.
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

// insert takes in a machine whose key is not there yet.
func (o *order) insert(m *machine) {
	run, at := o.find(m.key)
	if run == len(o.runs) { // behind all: the last run takes it
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

// remove takes out the machine of the key, which is there.
func (o *order) remove(key string) {
	run, at := o.find(key)
	o.runs[run] = slices.Delete(o.runs[run], at, at+1)
	if len(o.runs[run]) == 0 {
		o.runs = slices.Delete(o.runs, run, run+1)
	}
}

// scan gives the machines whose key begins with prefix and is greater than
// after, in key order.
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
