//go:build !linux

package journal

import "os"

func openHandle(path string) (*Handle, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &Handle{File: f}, nil
}
