package bolt

import (
	"encoding/binary"
	"fmt"

	"github.com/liap-tui/savepoint/internal/format"
)

// appendNumberKey appends the key of a machine number in bucket numbers, which
// holds the key of each machine under its number.
func appendNumberKey(b []byte, number uint64) []byte { return binary.BigEndian.AppendUint64(b, number) }

// machineOf returns the key of the machine that has a number. It returns "" if no
// machine has it any more: then no events are stored under it either.
func (tx *txn) machineOf(number uint64) (string, error) {
	var b []byte
	if tx.numbers.there() {
		b = tx.numbers.get(appendNumberKey(nil, number))
	}
	if b == nil {
		k, _ := tx.events.cursor().seek(appendValueKey(nil, number, 0))
		if n, _, _, ok := splitValueKey(k); ok && n == number {
			return "", fmt.Errorf("machine number %d: the key of its machine is missing", number)
		}
		return "", nil
	}
	h, payload, err := format.ParseValue(b, maxKey)
	if err == nil && (h.Type != format.TypeNumber || h.Number != number) {
		err = fmt.Errorf("value is a %s %d", h.Type, h.Number)
	}
	if err != nil {
		return "", fmt.Errorf("machine number %d: %w", number, err)
	}
	return string(payload), nil
}
