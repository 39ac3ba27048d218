//go:build !linux

package journal

import (
	"errors"
	"os"
)

func openHandle(path string) (*Handle, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &Handle{File: f}, nil
}

func openDirect(string) (*os.File, error) { return nil, errors.ErrUnsupported }
