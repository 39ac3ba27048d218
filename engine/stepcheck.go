package engine

import "fmt"

// Check returns an error if the step breaks a rule that Step and Write state, so
// that no engine accepts it, whatever is stored. Engines refuse such a step alone.
func (s Step) Check() error {
	for i := range s.Writes {
		if err := s.Writes[i].check(); err != nil {
			return err
		}
	}
	return s.checkMachines()
}

func (s Step) checkMachines() error {
	if len(s.Writes) < 2 {
		return nil
	}
	seen := make(map[string]struct{}, len(s.Writes))
	for i := range s.Writes {
		machine := s.Writes[i].Machine
		if _, twice := seen[machine]; twice {
			return fmt.Errorf("step writes to machine %q more than once", machine)
		}
		seen[machine] = struct{}{}
	}
	return nil
}

func (w *Write) check() error {
	if w.Machine == "" {
		return fmt.Errorf("write to a machine without a key")
	}
	if w.Purge {
		return nil
	}
	if w.Seq == 0 {
		return fmt.Errorf("write to machine %q ends at seq 0", w.Machine)
	}
	if w.Seq < w.Expect || w.Seq-w.Expect < uint64(len(w.Events)) {
		return fmt.Errorf("write to machine %q: %d events do not fit between seq %d and %d", w.Machine, len(w.Events), w.Expect, w.Seq)
	}
	for i := range w.Snapshots {
		if seq := w.Snapshots[i].Seq; seq > w.Seq {
			return fmt.Errorf("write to machine %q up to seq %d: snapshot %d is after it", w.Machine, w.Seq, seq)
		}
	}
	if w.TrimTo > w.Seq {
		return fmt.Errorf("write to machine %q up to seq %d: trim to %d is after it", w.Machine, w.Seq, w.TrimTo)
	}
	return w.checkRestore()
}

func (w *Write) checkRestore() error {
	if len(w.Restore) > 0 && w.TrimTo > 0 {
		return fmt.Errorf("write to machine %q both trims and restores events", w.Machine)
	}
	var seq, pos uint64
	for i := range w.Restore {
		o := &w.Restore[i]
		if o.Seq <= seq || o.Pos <= pos || o.Seq > w.Expect {
			return fmt.Errorf("write to machine %q from seq %d on: event %d at position %d cannot be restored after event %d at position %d", w.Machine, w.Expect, o.Seq, o.Pos, seq, pos)
		}
		seq, pos = o.Seq, o.Pos
	}
	return nil
}
