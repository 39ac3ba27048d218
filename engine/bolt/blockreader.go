package bolt

import (
	"bytes"
	"fmt"

	"github.com/liap-tui/savepoint/internal/format"
)

// blockReader reads whole blocks of events. What it returns is valid until its
// next use; a raw block is copied, so it does not depend on the transaction.
type blockReader struct {
	limit   int // the longest payload that is accepted
	joiner  format.Joiner
	scratch []byte
}

// wholeBlock is a block and the header of its value.
type wholeBlock struct {
	format.Block
	header format.Header
}

// read reads and checks the block stored under a machine number and seq.
func (r *blockReader) read(tx *txn, number, seq uint64) (b wholeBlock, err error) {
	var payload []byte
	if b.header, payload, err = joinPieces(&tx.events, &r.joiner, number, seq, r.limit); err != nil {
		return b, err
	}
	if b.header.Type != format.TypeBlock || b.header.Number != number || b.header.Seq != seq {
		return b, fmt.Errorf("value is a %s %d of machine number %d", b.header.Type, b.header.Seq, b.header.Number)
	}
	if b.header.Codec == format.Raw {
		r.scratch = append(r.scratch[:0], payload...)
		payload = r.scratch
	} else if payload, r.scratch, err = format.Decode(r.scratch, b.header.Codec, payload, b.header.Raw); err != nil {
		return b, err
	}
	b.Block, err = format.ParseBlock(payload, seq)
	return b, err
}

// readOwned is read, but the block it returns stays valid.
func (r *blockReader) readOwned(tx *txn, number, seq uint64) (wholeBlock, error) {
	r.scratch = nil
	b, err := r.read(tx, number, seq)
	r.scratch = nil
	return b, err
}

// joinPieces joins the pieces of the value stored under number and seq. The
// payload is still encoded; it is valid until the next use of j and the end of
// the transaction.
func joinPieces(t *tree, j *format.Joiner, number, seq uint64, limit int) (format.Header, []byte, error) {
	j.Reset()
	end := appendValueAfter(nil, number, seq)
	cur := t.cursor()
	for k, v := cur.seek(appendValueKey(nil, number, seq)); k != nil && bytes.Compare(k, end) < 0; k, v = cur.next() {
		_, _, piece, ok := splitValueKey(k)
		if !ok {
			continue
		}
		if err := j.Add(piece, v, limit); err != nil {
			return format.Header{}, nil, err
		}
	}
	return j.Whole()
}
