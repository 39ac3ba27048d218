package journal

import (
	"io"
	"os"
)

// DirectReader reads a file bypassing the page cache if the file system supports
// that, otherwise through it. Bypassing the cache, it returns the bytes that the
// device holds. It is for one goroutine, and fast only from front to back.
type DirectReader struct {
	file   *os.File
	direct *os.File // nil if direct reading is not supported
	window []byte   // the n bytes of the file from at on
	at     int64
	n      int
}

// window is the number of bytes read at once. A buffer of this size starts at a
// page boundary in memory, as direct reading requires.
const window = 1 << 20

// NewDirectReader returns a reader of f. The caller closes f, and the reader.
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

// ReadAt implements io.ReaderAt, for one goroutine. After an error of direct
// reading it reads through the page cache from then on.
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

// Close closes the reader, but not the file that it was made for.
func (r *DirectReader) Close() error {
	if r.direct == nil {
		return nil
	}
	return r.direct.Close()
}
