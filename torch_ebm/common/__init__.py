"""What every room uses: checks of arguments, the progress bar."""
