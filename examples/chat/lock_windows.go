package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lockFile makes path, if there is none, and has it to itself until it is
// closed or the process ends; errInUse if somebody else has.
func lockFile(path string) (*os.File, error) {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	const sharingViolation = syscall.Errno(32) // ERROR_SHARING_VIOLATION
	h, err := syscall.CreateFile(name, syscall.GENERIC_READ|syscall.GENERIC_WRITE, 0, nil, syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	switch {
	case err == nil:
		return os.NewFile(uintptr(h), path), nil
	case errors.Is(err, sharingViolation):
		err = errInUse
	}
	return nil, fmt.Errorf("%s: %w", path, err)
}
