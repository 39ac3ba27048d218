package format

import (
	"fmt"
	"slices"

	"github.com/golang/snappy"
)

// packedShape is the first byte of a compressed group, in place of stepShape; the
// group, as one snappy block, follows.
const packedShape = 2

// PackGroup appends a group to dst, compressed.
func PackGroup(dst, group []byte) []byte {
	dst = slices.Grow(append(dst, packedShape), snappy.MaxEncodedLen(len(group)))
	at := len(dst)
	return dst[:at+len(snappy.Encode(dst[at:cap(dst)], group))]
}

// UnpackGroup reverses [PackGroup]. It returns a compressed group, of at most limit
// bytes, in newly allocated memory, and b itself if b is not compressed.
func UnpackGroup(b []byte, limit int64) ([]byte, error) {
	if len(b) == 0 || b[0] != packedShape {
		return b, nil
	}
	n, err := snappy.DecodedLen(b[1:])
	if err == nil && int64(n) > limit {
		err = fmt.Errorf("%w: %d bytes, at most %d", ErrTooLong, n, limit)
	}
	var group []byte
	if err == nil {
		group, _, err = Decode(nil, Snappy, b[1:], uint32(n))
	}
	if err != nil {
		return nil, fmt.Errorf("packed group: %w", err)
	}
	return group, nil
}
