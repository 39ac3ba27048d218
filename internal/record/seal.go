package record

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errSeal is returned for bytes with a wrong checksum.
var errSeal = errors.New("checksum differs")

// seal appends the CRC-32C of owner and of b[from:] to b. The owner is included so
// that the bytes of one machine are not accepted for another one.
func seal(b []byte, from int, owner string) []byte {
	sum := crc32.Update(crc32.Update(0, castagnoli, []byte(owner)), castagnoli, b[from:])
	return binary.BigEndian.AppendUint32(b, sum)
}

// unseal checks and removes the checksum that seal appended.
func unseal(b []byte, owner string) ([]byte, error) {
	if len(b) < 4 {
		return nil, errSeal
	}
	body := b[:len(b)-4]
	sum := crc32.Update(crc32.Update(0, castagnoli, []byte(owner)), castagnoli, body)
	if sum != binary.BigEndian.Uint32(b[len(body):]) {
		return nil, errSeal
	}
	return body, nil
}
