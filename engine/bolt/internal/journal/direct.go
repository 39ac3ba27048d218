package journal

import (
	"io"
	"os"
)

// DirectReader reads a file past the page cache where that can be done, and through
// it elsewhere: what it gives of a ring is what the device has, whatever the
// cache holds. It is for one goroutine and for reading from front to back.
type DirectReader struct {
	file   *os.File
	direct *os.File // nil where there is no such way
	window []byte
	at     int64
	n      int
}

// window is how much is read at once. So large, the runtime gives it whole pages.
const window = 1 << 20

// NewDirectReader reads f, which stays the caller's. Close frees the rest.
func NewDirectReader(f *os.File) *DirectReader {
	r := &DirectReader{file: f}
	direct, err := openDirect(f.Name())
	if err != nil {
		return r
	}
	have, err := direct.Stat()
	same, err2 := f.Stat()
	if err != nil || err2 != nil || !os.SameFile(have, same) {
		direct.Close()
		return r
	}
	r.direct, r.window = direct, make([]byte, window)
	return r
}

func (r *DirectReader) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) && r.direct != nil {
		at := off + int64(n)
		if at < r.at || at >= r.at+int64(r.n) {
			r.at = at / Align * Align
			r.n, err = r.direct.ReadAt(r.window, r.at)
			if err != nil && err != io.EOF {
				r.direct.Close()
				r.direct, r.n = nil, 0
				break
			}
			if at >= r.at+int64(r.n) {
				return n, io.EOF
			}
		}
		n += copy(p[n:], r.window[at-r.at:r.n])
	}
	if n == len(p) {
		return n, nil
	}
	more, err := r.file.ReadAt(p[n:], off+int64(n))
	return n + more, err
}

// Close ends the reading.
func (r *DirectReader) Close() error {
	if r.direct == nil {
		return nil
	}
	return r.direct.Close()
}
