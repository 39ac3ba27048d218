// Package anomaly finds machines with unusual writes: one change of phase is repeated, many writes are
// refused, or there are very many of them. savepoint.Options.Anomalies switches it on, and
// savepoint.DB.Anomalies lists what was found.
package anomaly

import (
	"fmt"
	"time"
)

// Options say which behaviour of a machine is an anomaly. For each limit 0 means
// the default and a negative number means "off".
type Options struct {
	// Loop is how often one change of phase may be among the machine's last Window
	// changes of phase. Default 3.
	Loop int
	// Window is how many changes of phase are remembered for each machine in
	// memory. Default 10, at most 100.
	Window int
	// Refused is how many writes to one machine may be refused within Interval,
	// for any reason. Default 20.
	Refused int
	// Illegal is how many of those may be refused because of Kind.Legal. Default 5.
	Illegal int
	// Writes is how many writes to one machine may be made within Interval.
	// Default 600.
	Writes int
	// Interval is the time over which writes and refused writes are counted.
	// Default 1 minute.
	Interval time.Duration
}

const maxWindow = 100

// Validate returns why the options cannot be used, or nil.
func (o *Options) Validate() error {
	if o.Interval >= 0 && o.Window >= 0 && o.Window <= maxWindow {
		return nil
	}
	return fmt.Errorf("Anomalies.Interval %v, Window %d: neither may be below zero, and the window is %d at most", o.Interval, o.Window, maxWindow)
}

func (o Options) withDefaults() Options {
	orDefault(&o.Loop, 3)
	orDefault(&o.Window, 10)
	orDefault(&o.Refused, 20)
	orDefault(&o.Illegal, 5)
	orDefault(&o.Writes, 600)
	orDefault(&o.Interval, time.Minute)
	return o
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// The values of Anomaly.What.
const (
	Loop    = "loop"    // more than Options.Loop times the same change of phase
	Refused = "refused" // more than Options.Refused writes were refused
	Illegal = "illegal" // more than Options.Illegal writes were refused because of Kind.Legal
	Writes  = "writes"  // more than Options.Writes writes
)

// Anomaly is one machine that exceeded a limit of Options.
type Anomaly struct {
	Kind, ID string
	What     string // Loop, Refused, Illegal or Writes
	Path     string // of a loop: the change of phase, as in "turn -> scoring"
	Count    int    // how often it happened; more than the limit
	Seq      uint64 // of the machine at that time
	Time     time.Time
}

func (a Anomaly) String() string {
	return fmt.Sprintf("%s %q at %d: %s %d times %s", a.Kind, a.ID, a.Seq, a.What, a.Count, a.Path)
}

// Stats count the anomalies that were found.
type Stats struct{ Loops, Refused, Illegal, Writes int64 }
