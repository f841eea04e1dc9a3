struct Inventory;

trait Stock {
    fn count(&self) -> u32;
}

#[tcc::participant(name = "inventory")]
impl Stock for Inventory {
    fn count(&self) -> u32 {
        0
    }
}

fn main() {
    assert_eq!(Inventory.count(), 0);
}
