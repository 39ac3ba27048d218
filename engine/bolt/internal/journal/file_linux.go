package journal

import (
	"os"
	"syscall"
)

// dsyncKept has the file systems (statfs magic numbers) on which a write with
// O_DSYNC is known to wait for the device: local ones. On others fsync is used.
var dsyncKept = map[int64]bool{
	0xef53:     true, // ext2, ext3, ext4
	0x58465342: true, // xfs
	0x9123683e: true, // btrfs
	0xf2f52010: true, // f2fs
}

// directTaken has the file systems on which the ring is written bypassing the page
// cache: their direct writes invalidate the cache, and use it if they have to.
var directTaken = map[int64]bool{
	0xef53:     true, // ext2, ext3, ext4
	0x58465342: true, // xfs
}

func openHandle(path string) (*Handle, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	var fs syscall.Statfs_t
	if syscall.Fstatfs(int(f.Fd()), &fs) != nil || !dsyncKept[int64(fs.Type)] {
		return &Handle{File: f}, nil
	}
	f.Close()
	if f, err = os.OpenFile(path, os.O_RDWR|syscall.O_DSYNC, 0); err != nil {
		return nil, err
	}
	h := &Handle{File: f, dsync: true}
	if directTaken[int64(fs.Type)] {
		// An error means that the file system or its device does not support O_DIRECT.
		h.direct, _ = os.OpenFile(path, os.O_RDWR|syscall.O_DSYNC|syscall.O_DIRECT, 0)
	}
	return h, nil
}

// openDirect opens path for reading that bypasses the page cache.
func openDirect(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECT, 0)
}
