"""``python -m nightsift`` is the console command."""

from nightsift.jobs.cli import main

if __name__ == "__main__":
    main()
