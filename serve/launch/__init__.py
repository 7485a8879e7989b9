"""`onegate up`: starts Ray and the applications, waits for the end, and leaves nothing behind."""
