"""What only a real kubelet, real packets and real engines can prove."""
