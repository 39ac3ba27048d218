package savepoint

import (
	"bytes"
	"context"
	"errors"

	"github.com/liap-tui/savepoint/engine"
)

// scanAtOnce is the most heads a Scan copies out of one transaction.
const scanAtOnce = 1000

// Scan reads heads in rounds: each round is of one moment, and fn is called
// outside of its transaction.
func (e *boltEngine) Scan(ctx context.Context, prefix, after string, limit int, fn func(machine string, h engine.Head) error) error {
	type found struct{ key, value []byte }
	var (
		round []found
		buf   []byte
		from  = []byte(prefix)
	)
	if after != "" && after >= prefix {
		from = append([]byte(after), 0)
	}
	for left := limit; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		most := scanAtOnce
		if limit > 0 {
			most = min(most, left)
		}
		round, buf = round[:0], buf[:0]
		err := e.view(func(tx *boltTx) error {
			cur := tx.machines.cursor()
			for k, v := cur.seek(from); k != nil && bytes.HasPrefix(k, []byte(prefix)); k, v = cur.next() {
				if len(round) == most || len(buf) >= e.opt.lookBytes {
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
		for _, f := range round {
			if err := ctx.Err(); err != nil {
				return err
			}
			err := fn(string(f.key), e.scanned(string(f.key), f.value))
			if errors.Is(err, engine.Stop) {
				return nil
			}
			if err != nil {
				return err
			}
		}
		if left -= len(round); len(round) == 0 || limit > 0 && left == 0 {
			return nil
		}
		from = append(append(from[:0], round[len(round)-1].key...), 0)
	}
}

func (e *boltEngine) scanned(key string, value []byte) engine.Head {
	h, err := parseBoltHead(value, []byte(key), e.opt.maxStep+valueSlack)
	head := h.public()
	if err != nil {
		head.Err = &engine.Damage{Machine: key, Part: "head", Why: err}
	}
	return head
}
