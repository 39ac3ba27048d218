package bolt

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// directBlock is the alignment and the largest length of a direct read.
const directBlock = 4096

// readDisk reads bytes of f from the disk, bypassing the page cache. On a file
// system that does not support this it returns an error.
func readDisk(f *os.File, at int64, b []byte) (err error) {
	if at%directBlock != 0 || len(b) > directBlock {
		return fmt.Errorf("read %d bytes at %d bypassing the page cache: %w", len(b), at, errors.ErrUnsupported)
	}
	block, err := syscall.Mmap(-1, 0, directBlock, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	defer func() { err = errors.Join(err, syscall.Munmap(block)) }()
	d, err := os.OpenFile(f.Name(), os.O_RDONLY|syscall.O_DIRECT, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	info, err := d.Stat()
	if err != nil {
		return err
	}
	if same, err := sameFile(info, f); err != nil || !same {
		return fmt.Errorf("read %s bypassing the page cache: %w", f.Name(), errors.Join(err, errors.ErrUnsupported))
	}
	n, err := d.ReadAt(block, at)
	if copy(b, block[:n]) < len(b) {
		return errors.Join(err, io.ErrUnexpectedEOF)
	}
	return nil
}
