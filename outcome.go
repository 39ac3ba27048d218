package savepoint

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/record"
)

// token names a write: its machine, the machine's seq after it, and the digest
// of the machine's records then.
func token(w *engine.Write) string {
	return fmt.Sprintf("%s.%d.%s", hex.EncodeToString([]byte(w.Machine)), w.Seq, hex.EncodeToString(w.Token[:]))
}

// Outcome tells, after the file was opened again, what became of a write that
// was in doubt: whether it is stored. The token is the InDoubtError's. The kind
// must be registered if the machine was written to since.
func (db *DB) Outcome(ctx context.Context, token string) (stored bool, err error) {
	if db.closed.Load() {
		return false, ErrClosed
	}
	key, seq, digest, err := parseToken(token)
	if err != nil {
		return false, fmt.Errorf("outcome of %.80q: %w", token, err)
	}
	head, err := db.eng.Load(ctx, key, engine.Want{}, nil)
	switch {
	case err != nil:
		return false, fmt.Errorf("outcome: %w", err)
	case head.Number == 0 || head.Seq < seq:
		return false, nil
	case head.Seq == seq:
		return head.Token == digest, nil
	}
	kindName, id, _ := splitKey(key)
	kinds, err := db.choose([]string{kindName})
	if err != nil {
		return false, fmt.Errorf("outcome: %w", err)
	}
	r, _, _, err := db.rebuild(ctx, kinds[0], id, seq, 0)
	if err != nil {
		return false, fmt.Errorf("outcome: %w", err)
	}
	return r.head.Digest == record.Digest(digest), nil
}

func parseToken(token string) (key string, seq uint64, digest [16]byte, err error) {
	bad := errors.New("not a token: take it from an InDoubtError")
	part := strings.Split(token, ".")
	if len(part) != 3 {
		return "", 0, digest, bad
	}
	k, err1 := hex.DecodeString(part[0])
	seq, err2 := strconv.ParseUint(part[1], 10, 64)
	d, err3 := hex.DecodeString(part[2])
	if _, _, ok := splitKey(string(k)); err1 != nil || err2 != nil || err3 != nil || len(d) != len(digest) || !ok {
		return "", 0, digest, bad
	}
	return string(k), seq, [16]byte(d), nil
}
