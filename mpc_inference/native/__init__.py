"""The compiled local steps of MPC inference: ring products, AES trees and attention inner loops."""
