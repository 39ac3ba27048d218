package bolt

import (
	"bytes"
	"context"
	"errors"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/format"
)

// scanAtOnce is the most heads a Scan copies out of one transaction.
const scanAtOnce = 1000

// Scan reads heads in rounds: each round is of one moment, and fn is called
// outside of its transaction.
func (e *Engine) Scan(ctx context.Context, prefix, after string, limit int, fn func(machine string, h engine.Head) error) error {
	type found struct{ key, value []byte }
	var (
		round []found
		buf   []byte
		from  = []byte(prefix)
	)
	if after != "" && after >= prefix {
		from = append([]byte(after), 0)
	}
	keys := e.memtable.keys(prefix, string(from))
	var refs []entryRef
	for left := limit; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		most := scanAtOnce
		if limit > 0 {
			most = min(most, left)
		}
		round, buf = round[:0], buf[:0]
		now, folded := keys[:min(most, len(keys))], uint64(0)
		refs = e.memtable.newestOf(now, refs[:0])
		behind := false // the file has more than the round
		err := e.view(func(tx *txn) (err error) {
			if len(refs) > 0 {
				if folded, _, err = parseJournalState(tx); err != nil {
					return err
				}
			}
			cur := tx.machines.cursor()
			for k, v := cur.seek(from); k != nil && bytes.HasPrefix(k, []byte(prefix)); k, v = cur.next() {
				if len(round) == most || len(buf) >= e.opt.readBytes {
					behind = true
					break
				}
				at := len(buf)
				buf = append(append(buf, k...), v...)
				round = append(round, found{buf[at : at+len(k)], buf[at+len(k):]})
			}
			return nil
		})
		if err != nil {
			return err
		}
		// The ring's machines are merged into the round, up to where both are known.
		last, given := "", 0
		for i, j := 0, 0; given < most; given++ {
			if i == len(round) && behind || j == len(now) && len(now) < len(keys) || i == len(round) && j == len(now) {
				break
			}
			var key string
			var h engine.Head
			if i < len(round) && (j == len(now) || string(round[i].key) <= now[j]) {
				key = string(round[i].key)
				h = e.scanned(key, round[i].value)
				i++
			} else {
				key = now[j]
			}
			if j < len(now) && now[j] == key {
				if refs[j].lsn > folded {
					if h, err = headOfRef(refs[j]); err != nil {
						return err
					}
				}
				j++
			}
			last = key
			if h.Number == 0 && h.Err == nil { // purged since the keys were taken
				given--
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			err := fn(key, h)
			if errors.Is(err, engine.Stop) {
				return nil
			}
			if err != nil {
				return err
			}
		}
		left -= given
		if last == "" || limit > 0 && left == 0 {
			return nil
		}
		from = append(append(from[:0], last...), 0)
		for len(keys) > 0 && keys[0] <= last {
			keys = keys[1:]
		}
	}
}

func headOfRef(r entryRef) (engine.Head, error) {
	var w format.StepWrite
	if err := w.Parse(r.write); err != nil {
		return engine.Head{}, err
	}
	h := headOfWrite(&w)
	return h.public(), nil
}

func (e *Engine) scanned(key string, value []byte) engine.Head {
	h, err := parseHead(value, []byte(key), e.opt.maxStep+valueSlack)
	head := h.public()
	if err != nil {
		head.Err = &engine.Damage{Machine: key, Part: "head", Why: err}
	}
	return head
}
